/** Metrics that Prometheus' client libraries show of every process, and the build's version. */

import { VERSION, type World } from "../base/mod.ts";
import { FAMILIES } from "./families.ts";
import type { MetricsText } from "./text.ts";

/** Writes the metrics of the process. `startedWallMs`: when it began. */
export function writeProcess(text: MetricsText, { host }: World, startedWallMs: number): void {
  text.single(FAMILIES.buildInfo, { version: VERSION, runtime: "deno" }, 1);
  const usage = host.resourceUsage?.();
  if (usage) text.single(FAMILIES.processCpu, {}, (usage.userMs + usage.systemMs) / 1000);
  text.single(FAMILIES.processMemory, {}, host.rssBytes());
  text.single(FAMILIES.processStart, {}, startedWallMs / 1000);
}
