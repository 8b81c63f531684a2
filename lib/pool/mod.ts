/**
 * pool: where tasks run.
 *
 * May touch: app (the tracer and the loader), platform (the URL of an isolate's entry), Worker,
 * net (the socket of its own), World.spawner; node:fs for journals. Never a broker or a result
 * store: what tasks publish and store goes through the worker.
 *
 *   worker ── submit ──> SlotPool ── frames ──> Link ══ socket (postMessage) ══> SlotEngine ── run ──> SlotRunner
 *          <─ outcomes ─          <─ frames ─                                             <─ outcome ─
 *
 * Reading order: pool.ts (the interface), runner.ts (what runs tasks in a slot), feeding.ts (jobs into frames);
 * slot_pool.ts (the pool of slots), feeder.ts (who gets which job), slot.ts (one slot), held.ts (a job in it),
 * slot_starts.ts (starts that fail), standby.ts (slots that wait to stand in), time_limits.ts, waiters.ts;
 * link/link.ts (the way to a slot) with link/process.ts (over link/pump.ts), link/host.ts and link/thread.ts,
 * link/isolate.ts (isolates on behalf of other isolates), link/frame.ts and link/slot_message.ts (what crosses),
 * link/journal.ts (what is known of a killed slot), link/slot_end.ts (deaths in Celery's words); then the slot's
 * side: child/engine.ts, child/child.ts (the runner on the tracer), child/redirect.ts, child/slot_start.ts,
 * child/child_main.ts, child/child_process.ts, child/thread_host.ts, child/thread_slot.ts and child/child_thread.ts;
 * sandbox/sandbox.ts (tasks that declare what they may) with sandbox/isolate_host.ts and sandbox/heap_watch.ts;
 * solo.ts (no slots at all); registry.ts (names).
 */

export * from "./pool.ts";
export { runPoolChild } from "./child/child_process.ts";
export { poolFactory, PoolHead, POOLS, soloPool } from "./registry.ts";
export { SoloPool } from "./solo.ts";
export type { OpenRunner, RunnerHost, SlotJob, SlotRunner, TaskLabel } from "./runner.ts";
