/**
 * event: the events that workers and clients send to monitors, and their receivers.
 *
 *   worker, self.sendEvent -> EventDispatcher -> exchange "celeryev" -> EventReceiver -> handlers, ClusterState
 *
 * An event costs the data lane one text, and nothing if events are off. One batch each turn is published by
 * the App's publisher; if the connection is lost, events wait in a bounded buffer. Received messages are not
 * trusted: one that is not an event, or too large, is logged in one line.
 *
 * Reading order: event.ts (what handlers get), dispatcher.ts, receiver.ts; fields.ts, worker_state.ts,
 * task_state.ts, state.ts (the cluster); election.ts; app_events.ts (`app.events`). May import app and lower
 * layers; the wire's form of events is wire/message/event_message.ts. The steps that use this room are in
 * worker/consumer: events, heart, gossip, mingle.
 */

export { AppEvents } from "./app_events.ts";
export { type Candidate, type Decision, GossipElections } from "./election.ts";
export { type DispatcherOptions, EventDispatcher } from "./dispatcher.ts";
export { eventQueue, EventReader, type ReceivedEvent } from "./event.ts";
export { type CaptureOptions, EventReceiver, type ReceiverOptions } from "./receiver.ts";
export { ClusterState, type StateOptions } from "./state.ts";
export { TaskState } from "./task_state.ts";
export { WorkerState } from "./worker_state.ts";
