/** A beat's own metrics for Prometheus. */

import { FAMILIES, MetricsText, type MetricsTextOptions, writeProcess } from "../metrics/mod.ts";
import type { Beat } from "./beat.ts";

/** Returns the text of a beat's metrics. `startedWallMs`: when the process began. */
export function beatMetrics(beat: Beat, startedWallMs: number, options: MetricsTextOptions = {}): string {
  const text = new MetricsText(options);
  writeBeat(text, beat);
  text.single(FAMILIES.connected, {}, beat.figures.isBrokerAway ? 0 : 1);
  writeProcess(text, beat.app.world, startedWallMs);
  return text.end();
}

/** Writes the metrics that only a beat has, for a process that does more than beat. */
export function writeBeat(text: MetricsText, { figures }: Beat): void {
  const { isLeader, entries, sent, lagSeconds } = figures;
  text.single(FAMILIES.beatLeader, {}, isLeader ? 1 : 0);
  text.single(FAMILIES.beatLag, {}, lagSeconds);
  text.single(FAMILIES.beatSent, {}, sent);
  text.single(FAMILIES.beatEntries, {}, entries);
}
