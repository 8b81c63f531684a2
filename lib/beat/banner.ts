/** What beat prints when it starts. Source: celery 5.2.6 apps/beat.py Beat.startup_info; protocol.md 10.4. */

import { humanizeSeconds } from "../base/mod.ts";

/** What the banner tells. */
export interface BeatBannerFacts {
  /** e.g. "0.1.0 (lovage)". */
  readonly version: string;
  /** Local time, "2026-11-22 15:44:34". */
  readonly timestamp: string;
  /** With its password masked. */
  readonly broker: string;
  /** "persistent" or "memory". */
  readonly scheduler: string;
  /** The schedule file; null: none. */
  readonly path: string | null;
  /** Null: standard error. */
  readonly logfile: string | null;
  readonly loglevel: string;
  readonly maxIntervalSeconds: number;
}

/** The first line, before anything is opened. */
export function startingLine(version: string): string {
  return `lovage beat v${version} is starting.\n`;
}

/** The rest of it, with its end of line. Pure. */
export function beatBanner(facts: BeatBannerFacts): string {
  const seconds = facts.maxIntervalSeconds;
  return [
    "__    -    ... __   -        _",
    `LocalTime -> ${facts.timestamp}`,
    "Configuration ->",
    `    . broker -> ${facts.broker}`,
    `    . scheduler -> ${facts.scheduler}`,
    ...(facts.path === null ? [] : [`    . db -> ${facts.path}`]),
    `    . logfile -> ${facts.logfile ?? "[stderr]"}@%${facts.loglevel}`,
    `    . maxinterval -> ${humanizeSeconds(seconds)} (${seconds}s)`,
    "",
  ].join("\n");
}
