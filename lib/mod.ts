/**
 * lovage: Celery's system for TypeScript. The one door of users' modules: `import { App } from "lovage"`.
 *
 *   const app = new App("shop", { broker_url: "redis://localhost" });
 *   export const add = app.task("shop.add", (x: number, y: number) => x + y);
 *   const result = await add.delay(1, 2);      // sent
 *   await result.get();                        // 3, from a worker
 *
 * What is here: the App and its tasks, the canvas, results, schedules, signals, Celery's exceptions.
 */

import { appExtensions } from "./app/mod.ts";
import { ensureCurrentWorld } from "./base/mod.ts";
import { installEvents } from "./event/mod.ts";
import { installControl } from "./mailbox/mod.ts";
import { realWorld } from "./platform/mod.ts";

installControl(appExtensions);
installEvents(appExtensions);

// Under `lovage worker` the World is there already; a program of the user's own gets the real one here.
ensureCurrentWorld(realWorld);

export {
  AccessRefused,
  ConnectionLost,
  DialError,
  OperatingError,
  ServerError,
  UsageError,
} from "./base/mod.ts";
export {
  type AnyTask,
  App,
  AppSignal,
  AsyncResult,
  type BeatEntry,
  type CommandOptions,
  type Conf,
  type Context,
  type Control,
  crontab,
  type CrontabFields,
  type EagerResult,
  type GetOptions,
  GroupResult,
  type Inspect,
  type QueueOptions,
  type RemoteAnswer,
  type RemoteCommandOptions,
  type RemoteHandler,
  type RemoteOptions,
  type RemoteState,
  type Replies,
  type RequestInfo,
  ResultSet,
  type RetryOptions,
  type Route,
  type RouteFunction,
  type RouteOptions,
  type Schedule,
  schedule,
  type SecurityOptions,
  type SendManyItem,
  type SendOptions,
  type SendTaskOptions,
  type Settings,
  Signal,
  type SignalEvent,
  signals,
  type SilentNodes,
  solar,
  type Task,
  type TaskOptions,
  type TaskRequest,
} from "./app/mod.ts";
export {
  chain,
  chord,
  Chunks,
  chunks,
  group,
  Signature,
  signature,
  type SignatureOptions,
  type StampingVisitor,
  xmap,
  xstarmap,
} from "./canvas/mod.ts";
export {
  type AppEvents,
  type CaptureOptions,
  type ClusterState,
  type EventDispatcher,
  type EventReceiver,
  type ReceivedEvent,
  type ReceiverOptions,
  type StateOptions,
  type TaskState,
  type WorkerState,
} from "./event/mod.ts";
export { Cluster, type ClusterEvents, type ClusterOptions, Node, type NodeOutcome } from "./multi/mod.ts";
export { type Exchange, exchange, type Queue, queue } from "./transport/mod.ts";
export {
  CeleryError,
  ChordError,
  ContentDisallowed,
  DecodeError,
  EncodeError,
  Ignore,
  ImproperlyConfigured,
  InvalidTaskError,
  MaxRetriesExceededError,
  NotRegistered,
  QueueNotFound,
  Reject,
  RemoteError,
  Retry,
  SoftTimeLimitExceeded,
  TaskRevokedError,
  Terminated,
  TimeLimitExceeded,
  TimeoutError,
  WorkerLostError,
} from "./wire/mod.ts";
export { TestWorker, type TestWorkerOptions } from "./worker/test_worker.ts";
