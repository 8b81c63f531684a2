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
 * Reading order: pool.ts (the interface), feeding.ts (jobs into frames), slot_pool.ts (the pool of slots),
 * slot.ts (one slot), spares.ts, time_limits.ts, slot_end.ts (deaths in Celery's words), waiters.ts, frame.ts
 * and slot_message.ts (what crosses), journal.ts (what is known of a killed slot), link.ts with process_link.ts (over
 * pump.ts), host_link.ts and thread_link.ts (the parent's end); then the slot's side: engine.ts, runner.ts, child.ts
 * (the runner on the tracer), redirect.ts, slot_start.ts, child_main.ts, child_process.ts, thread_host.ts,
 * thread_slot.ts and child_thread.ts; sandbox.ts (tasks that declare what they may) with box.ts, box_host.ts and
 * heap_watch.ts; solo.ts (no slots at all); registry.ts (names).
 */

export * from "./pool.ts";
export { runPoolChild } from "./child_process.ts";
export { poolFactory, PoolHead, soloPool } from "./registry.ts";
export { threadEntry } from "./thread_link.ts";
export { MemoryLimitExceeded } from "./sandbox.ts";
export { SoloPool } from "./solo.ts";
export type { InterruptReason, OpenRunner, RunnerHost, SlotJob, SlotRunner, TaskLabel } from "./runner.ts";
