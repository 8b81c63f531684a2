/** What Prometheus' client libraries show of every process, and which build this is. */

import { VERSION, type World } from "../base/mod.ts";
import { FAMILIES } from "./families.ts";
import type { MetricsText } from "./text.ts";

/** Writes them. `startedWallMs`: when the process began. */
export function writeProcess(text: MetricsText, { host }: World, startedWallMs: number): void {
  text.single(FAMILIES.buildInfo, { version: VERSION, runtime: "deno" }, 1);
  const usage = host.resourceUsage?.();
  if (usage) text.single(FAMILIES.processCpu, {}, (usage.userMs + usage.systemMs) / 1000);
  text.single(FAMILIES.processMemory, {}, host.rssBytes());
  text.single(FAMILIES.processStart, {}, startedWallMs / 1000);
}
