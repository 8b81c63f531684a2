/**
 * beat: sends tasks when they are due. Of many beats one sends at a time, and no run is sent twice.
 *
 *   beat_schedule -> Entry (a Timing, and the state of its runs) -> Scheduler (heap by due time)
 *     -> Beat (the loop) -> BeatPublisher (messages) -> the broker, together with the record of the run
 *                        -> ScheduleStore (celerybeat-schedule)
 *
 * Reading order: timing.ts (when something is due), zone.ts (local time), cron_field.ts, crontab.ts,
 * interval.ts, solar.ts; entry.ts, scheduler.ts (pure: the caller gives the time); beat.ts (the loop),
 * publisher.ts, leadership.ts; store.ts, store_kv.ts, store_memory.ts, open_store.ts; preview.ts (`beat
 * next`), banner.ts, metrics.ts, embedded.ts (`worker -B`).
 *
 * May import base, blueprint, metrics, wire, transport, backend, platform and app.
 */

export * from "./banner.ts";
export * from "./beat.ts";
export * from "./embedded.ts";
export { type Entry, readEntries } from "./entry.ts";
export { beatMetrics, writeBeat } from "./metrics.ts";
export * from "./open_store.ts";
export * from "./preview.ts";
export * from "./store.ts";
