/**
 * What beat prints when it starts.
 *
 * Source: celery 5.2.6 apps/beat.py Beat.startup_info; protocol.md 10.4.
 */

import { humanizeSeconds } from "../base/mod.ts";

/** What the banner shows. */
export interface BeatBannerFacts {
  /** Such as "0.1.0 (lovage)". */
  readonly version: string;
  /** Local time, such as "2026-11-22 15:44:34". */
  readonly timestamp: string;
  /** The broker's URL with its password masked. */
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

/** Returns the first line, printed before anything is opened. */
export function startingLine(version: string): string {
  return `lovage beat v${version} is starting.\n`;
}

/** Returns the rest of the banner, with a final line break. Pure. */
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
