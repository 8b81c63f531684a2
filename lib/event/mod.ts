/**
 * event: what workers and clients tell monitors, out and in.
 *
 *   worker, self.sendEvent -> EventDispatcher -> exchange "celeryev" -> EventReceiver -> handlers, ClusterState
 *
 * Writing costs the data lane one text per event and nothing where events are off; a batch a turn leaves through the
 * App's publisher, and what a lost broker cannot take waits in a bounded buffer. Reading believes nothing: what is not
 * an event, or too large, is one line in the log.
 *
 * Reading order: event.ts (what handlers get), dispatcher.ts, receiver.ts; fields.ts, worker_state.ts, task_state.ts,
 * state.ts (the cluster); election.ts; app_events.ts (`app.events`). May import app and what is below it; the wire's
 * form of events is wire/message/event_message.ts. The steps that use it are in worker/consumer: events, heart,
 * gossip, mingle.
 */

export { AppEvents } from "./app_events.ts";
export { type Candidate, type Decision, GossipElections } from "./election.ts";
export { type DispatcherOptions, EventDispatcher } from "./dispatcher.ts";
export { eventQueue, EventReader, type ReceivedEvent } from "./event.ts";
export { type CaptureOptions, EventReceiver, type ReceiverOptions } from "./receiver.ts";
export { ClusterState, type StateOptions } from "./state.ts";
export { TaskState } from "./task_state.ts";
export { WorkerState } from "./worker_state.ts";
