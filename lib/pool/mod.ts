/**
 * pool: where tasks run.
 *
 * May touch: app (the tracer and the loader), platform (the URL of an isolate's entry), Worker, net (its own
 * socket), World.spawner; node:fs for journals. It touches neither broker nor result store: messages and
 * results of tasks go through the worker.
 *
 *   worker ── submit ──> SlotPool ── frames ──> Link ══ socket (postMessage) ══> SlotEngine ── run ──> SlotRunner
 *          <─ outcomes ─          <─ frames ─                                             <─ outcome ─
 *
 * Reading order: pool.ts (the interface), runner.ts (the interface to the code that runs tasks in a slot),
 * feeding.ts (jobs into frames); slot_pool.ts (the pool of slots), feeder.ts (which slot gets which job),
 * slot.ts (one slot), held.ts (a job in it), slot_starts.ts (failed starts), standby.ts (replacement slots),
 * time_limits.ts, waiters.ts; link/link.ts (the connection to a slot) with link/process.ts (on link/pump.ts),
 * link/host.ts and link/thread.ts, link/isolate.ts (isolates started on behalf of other isolates),
 * link/frame.ts and link/slot_message.ts (the messages), link/journal.ts (what a killed slot had begun and
 * ended), link/slot_end.ts (outcomes of a slot's death, in Celery's words); then the slot's side:
 * child/engine.ts, child/child.ts (the runner on the tracer), child/redirect.ts, child/slot_start.ts,
 * child/child_main.ts, child/child_process.ts, child/thread_host.ts, child/thread_slot.ts and
 * child/child_thread.ts; sandbox/sandbox.ts (tasks that declare their permissions) with
 * sandbox/isolate_host.ts and sandbox/heap_watch.ts; solo.ts (the pool without slots); registry.ts (names).
 */

export * from "./pool.ts";
export { runPoolChild } from "./child/child_process.ts";
export { poolFactory, PoolHead, POOLS, soloPool } from "./registry.ts";
export { SoloPool } from "./solo.ts";
export type { OpenRunner, RunnerHost, SlotJob, SlotRunner, TaskLabel } from "./runner.ts";
