/**
 * What users import from "lovage" in every runtime: the App and its tasks, the canvas, results, schedules,
 * signals, Celery's exceptions. mod.ts adds exports that only the program has; client.ts is the door of the
 * npm package.
 */

import { appExtensions } from "./app/mod.ts";
import { AppEvents } from "./event/mod.ts";
import { AppControl } from "./mailbox/mod.ts";

// These parts of an App lie in rooms above its own.
appExtensions.control = (app) => new AppControl(app);
appExtensions.events = (app) => new AppEvents(app);

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
  type RemoteTasks,
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
  ValidationError,
  WorkerLostError,
} from "./wire/mod.ts";
