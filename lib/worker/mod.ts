/**
 * worker: takes task messages from the broker, has them run, and settles them.
 *
 * Two blueprints: the worker's (Timer, Hub, Pool, Consumer) and the consumer's (Connection, Tasks, event loop), which
 * is started again when the connection is lost. Between them runs the data lane, one path for every task message,
 * synchronous and batched; what needs a promise happens beside it (aside.ts).
 *
 *     transport ─► lane.ts ─► pool ─► settle.ts ─► backend, consumer.ack
 *                    └► refusals.ts       └► aside.ts (revoked, lost, timed out, chord parts)
 *
 * Reading order: worker.ts (WorkController), options.ts, stop.ts, components.ts, consumer/ (consumer.ts and its
 * steps), steps.ts (how other rooms add theirs); then the lane: lane_parts.ts, lane_state.ts, strategy.ts,
 * request.ts, request_states.ts, lane.ts, waiting_room.ts, rate_limit.ts, window.ts, body_shape.ts,
 * refusals.ts, settle.ts, aside.ts; autoscale.ts (slots by load), state_db.ts (what survives a restart).
 * Texts people match: texts.ts, banner.ts. May import everything below; touches nothing of the outside but World.
 */

export { BrokerGivenUp } from "./errors.ts";
export type { TaskEventSink } from "./lane_parts.ts";
export type { WorkerOptions } from "./options.ts";
export type { RemoteAutoscaler, RemoteEvents, RemoteGossip, RemoteParts } from "./remote.ts";
export { RequestState } from "./request_states.ts";
export type { Request } from "./request.ts";
export { LimitedSet } from "./revoked.ts";
export { registerStep, type StepParents } from "./steps.ts";
export type { StopWay } from "./stop.ts";
export { TestWorker, type TestWorkerOptions } from "./test_worker.ts";
export { WorkController } from "./worker.ts";
export type { Consumer } from "./consumer/consumer.ts";
