/**
 * beat: sends tasks when they are due.
 *
 *   beat_schedule -> Entry (a Timing and what is known of its last run) -> heap by due time -> messages
 *
 * Reading order: timing.ts (when something is due), zone.ts (local time), cron_field.ts, crontab.ts, interval.ts,
 * solar.ts.
 *
 * May import base, wire, transport, backend, platform and app.
 */

export * from "./crontab.ts";
export * from "./interval.ts";
export * from "./solar.ts";
export * from "./timing.ts";
export * from "./zone.ts";
