/**
 * Remote control as user code sees it: the interface of `app.control`, and custom commands. The mailbox room
 * implements the first, the worker's panel runs the second.
 *
 * Source: celery 5.2.6 app/control.py Control, Inspect; worker/control.py control_command, inspect_command.
 */

import { namesOf, refuseUnknown, UsageError } from "../base/mod.ts";
import type { UserApp } from "./core.ts";

/** The receivers of a command, and how to wait for their replies. */
export interface RemoteOptions {
  /** One node or several. Default: all. */
  destination?: string | readonly string[];
  /** Sends to nodes whose names match. Needs `matcher`; without it all nodes are selected, as in Celery. */
  pattern?: string;
  /** "glob": shell style, for the whole name; "pcre": a regular expression anchored at the start. */
  matcher?: "glob" | "pcre";
  /**
   * Maximum seconds to wait for replies. The wait ends earlier when every known node has replied. Default 1.
   */
  timeout?: number;
  /**
   * Number of replies after which the wait ends. Default: the number of known nodes, or of nodes in
   * `destination`.
   */
  limit?: number;
  /** Called with each reply as it arrives. */
  onReply?(node: string, reply: unknown): void;
  /** Called after the wait with the known nodes that did not reply. */
  onSilent?(silent: SilentNodes): void;
  /** Ends the wait early; the call rejects with the signal's reason. */
  abort?: AbortSignal;
}

/** The nodes that did not reply. */
export interface SilentNodes {
  /** Number of these nodes. */
  readonly count: number;
  /** Their names, as far as known. */
  readonly names: readonly string[];
}

/** Options of a command that is a broadcast without replies unless `reply` is set. */
export interface CommandOptions extends RemoteOptions {
  /** True: wait for replies. Default false. */
  reply?: boolean;
}

/** Replies by node name. */
export type Replies<T = unknown> = Record<string, T>;

/** The reply of a command: `ok` or `error`, with Celery's text. */
export interface RemoteAnswer {
  /** Text or data of success. */
  ok?: unknown;
  /** Text of the error. */
  error?: unknown;
}

/** A task as `inspect active` and similar commands show it. Times are epoch seconds. */
export interface RequestInfo {
  /** The task's id. */
  id: string;
  /** The task's name. */
  name: string;
  /** Positional arguments. */
  args: unknown;
  /** Keyword arguments. */
  kwargs: unknown;
  /** The task's name. */
  type: string;
  /** Node name of the worker. */
  hostname: string;
  /** When it began, or null. */
  time_start: number | null;
  /** True if its message has been acknowledged. */
  acknowledged: boolean;
  /** How its message was delivered. */
  delivery_info: {
    exchange: string;
    routing_key: string;
    priority: number | null;
    redelivered: boolean | null;
  };
  /** Process in which it runs, or null. */
  worker_pid: number | null;
}

/**
 * Queries to workers. Each resolves with the replies by node, or an empty object if no node replied. All
 * reject with UsageError for invalid options, with the broker's error, and with the reason of an aborted
 * `abort` signal.
 */
export interface Inspect {
  /** Asks nodes whether they are running. */
  ping(): Promise<Replies<RemoteAnswer>>;
  /** Tasks that are running. `safe`: arguments as text. */
  active(options?: { safe?: boolean }): Promise<Replies<RequestInfo[]>>;
  /** Tasks that are waiting for a slot. */
  reserved(): Promise<Replies<RequestInfo[]>>;
  /** Tasks that are held until their eta. */
  scheduled(): Promise<Replies<{ eta: string | null; priority: number; request: RequestInfo }[]>>;
  /** Ids of revoked tasks. */
  revoked(): Promise<Replies<string[]>>;
  /** Names of registered tasks, with the given attributes. */
  registered(...attributes: string[]): Promise<Replies<string[]>>;
  /** Statistics of the workers. */
  stats(): Promise<Replies<Record<string, unknown>>>;
  /** Queues that the workers consume. */
  activeQueues(): Promise<Replies<Record<string, unknown>[]>>;
  /** Settings of the workers, secrets masked. */
  conf(options?: { withDefaults?: boolean }): Promise<Replies<Record<string, unknown>>>;
  /** The text of `lovage report`. */
  report(): Promise<Replies<RemoteAnswer>>;
  /** The logical clocks of the workers. */
  clock(): Promise<Replies<{ clock: number }>>;
  /** Tasks with these ids that the workers hold, with their state. */
  queryTask(...ids: string[]): Promise<Replies<Record<string, [string, RequestInfo]>>>;
  /** Exchanges revoked ids and clocks with the workers, as a worker does at its start. */
  hello(fromNode: string, revoked?: Record<string, unknown>): Promise<Replies>;
  /** Memory sample of the workers, as text. */
  memsample(): Promise<Replies<string | null>>;
  /** Memory samples of the workers, as a table. */
  memdump(samples?: number): Promise<Replies<string>>;
  /** Any inspect command by its name, including custom commands. */
  ask(command: string, args?: Record<string, unknown>): Promise<Replies>;
}

/**
 * Remote control: `app.control`. Commands resolve with the replies by node, an empty object without `reply`.
 * All reject with UsageError for invalid options, with the broker's error, and with the reason of an aborted
 * `abort` signal.
 */
export interface Control {
  /** Returns queries to the nodes that the options select. */
  inspect(options?: RemoteOptions): Inspect;
  /** Sends any command by its name. */
  broadcast(
    command: string,
    options?: CommandOptions & { arguments?: Record<string, unknown> },
  ): Promise<Replies>;
  /** Asks all nodes, or those selected, whether they are running. */
  ping(options?: RemoteOptions): Promise<Replies<RemoteAnswer>>;
  /** Revokes tasks: workers discard them on arrival. `terminate` also ends running ones with `signal`. */
  revoke(
    ids: string | readonly string[],
    options?: CommandOptions & { terminate?: boolean; signal?: string },
  ): Promise<Replies>;
  /** Revokes tasks by stamps: `{ monitoring_id: ["a"] }`. */
  revokeByStampedHeaders(
    headers: Record<string, unknown>,
    options?: CommandOptions & { terminate?: boolean; signal?: string },
  ): Promise<Replies>;
  /** Revokes tasks and ends running ones. */
  terminate(
    ids: string | readonly string[],
    options?: CommandOptions & { signal?: string },
  ): Promise<Replies>;
  /** Sets the rate limit of a task: "10/m", a number per second, or 0 for no limit. */
  rateLimit(taskName: string, rate: string | number, options?: CommandOptions): Promise<Replies>;
  /** Sets time limits of a task in seconds; null removes a limit. */
  timeLimit(
    taskName: string,
    limits: { soft?: number | null; hard?: number | null },
    options?: CommandOptions,
  ): Promise<Replies>;
  /** Makes workers consume a queue. */
  addConsumer(
    queue: string,
    options?: CommandOptions & {
      exchange?: string;
      exchangeType?: string;
      routingKey?: string;
      queueOptions?: Record<string, unknown>;
    },
  ): Promise<Replies>;
  /** Makes workers stop consuming a queue. */
  cancelConsumer(queue: string, options?: CommandOptions): Promise<Replies>;
  /** Makes workers send task events. */
  enableEvents(options?: CommandOptions): Promise<Replies>;
  /** Makes workers stop sending task events. */
  disableEvents(options?: CommandOptions): Promise<Replies>;
  /** Makes workers send a heartbeat event now. */
  heartbeat(options?: CommandOptions): Promise<Replies>;
  /** Adds `n` slots to the pools. Default 1. */
  poolGrow(n?: number, options?: CommandOptions): Promise<Replies>;
  /** Removes `n` slots from the pools. Default 1. */
  poolShrink(n?: number, options?: CommandOptions): Promise<Replies>;
  /** Restarts the pools (`worker_pool_restarts`), with more `modules` if given. */
  poolRestart(
    options?: CommandOptions & { modules?: readonly string[]; reload?: boolean },
  ): Promise<Replies>;
  /** Changes the limits of the autoscaler. */
  autoscale(max: number, min: number, options?: CommandOptions): Promise<Replies>;
  /** Shuts workers down. */
  shutdown(options?: CommandOptions): Promise<Replies>;
  /** Holds an election among the workers. If `topic` is "task", the winner runs `action`. */
  election(id: string, topic: string, action?: unknown): Promise<void>;
  /** Deletes the messages in the App's queues. Resolves with their number. */
  purge(): Promise<number>;
  /** Closes the connection to the broker. A later call connects again. */
  close(): Promise<void>;
}

/** The worker in which a remote command runs, for the command's handler. */
export interface RemoteState {
  /** The worker's App. */
  readonly app: UserApp;
  /** The worker's node name. */
  readonly hostname: string;
  /** The worker itself (`WorkController` of the worker room). */
  readonly worker: unknown;
}

/** How the text of an argument on the command line is parsed. */
export type RemoteArgumentKind = "str" | "int" | "float" | "bool";

/** The description of a remote command, for its callers. */
export interface RemoteCommandFacts {
  readonly name: string;
  /** An inspect command changes nothing. */
  readonly kind: "control" | "inspect";
  /** A second name that workers accept. */
  readonly alias: string | null;
  /** One line of help. */
  readonly help: string;
  /** The arguments as the help shows them: `<task_name> <soft_secs> [hard_secs]`. */
  readonly signature: string;
  /** Positional arguments on the command line. */
  readonly args: readonly (readonly [name: string, kind: RemoteArgumentKind])[];
  /** The argument that takes all remaining words as an array; null: none. */
  readonly variadic: string | null;
  /** True if it is listed, and can be called from the command line. */
  readonly isVisible: boolean;
}

/** Options of a custom remote command. */
export interface RemoteCommandOptions {
  /** A second name that workers accept. */
  alias?: string;
  /** One line of help. */
  help?: string;
  /** The arguments as the help shows them. */
  signature?: string;
  /** Positional arguments on the command line. */
  args?: readonly (readonly [name: string, kind: RemoteArgumentKind])[];
  /** The argument that takes all remaining words as an array. */
  variadic?: string;
  /** False: not listed, and not callable from the command line. Default true. */
  visible?: boolean;
}

const COMMAND_NAMES = namesOf<RemoteCommandOptions>({
  alias: true,
  help: true,
  signature: true,
  args: true,
  variadic: true,
  visible: true,
});

/** Runs a command. The value that it returns or resolves with is the reply; an error becomes `{ error }`. */
export type RemoteHandler = (state: RemoteState, args: Record<string, unknown>) => unknown;

/** A custom remote command. */
export interface RemoteCommand extends RemoteCommandFacts {
  readonly run: RemoteHandler;
}

/** The remote commands that an App's modules have added. */
export class RemoteCommands {
  #commands = new Map<string, RemoteCommand>();

  /**
   * Adds a command, replacing one of the same name, as in Celery. Throws UsageError for a command without a
   * name or function, and for an unknown option.
   */
  add(
    kind: "control" | "inspect",
    name: string,
    optionsOrRun: RemoteCommandOptions | RemoteHandler,
    handler?: RemoteHandler,
  ): void {
    const options = typeof optionsOrRun === "function" ? {} : optionsOrRun;
    const run = typeof optionsOrRun === "function" ? optionsOrRun : handler;
    if (typeof name !== "string" || name === "") throw new UsageError("A remote command needs a name");
    if (typeof run !== "function") throw new UsageError(`Remote command "${name}" needs a function`);
    refuseUnknown(options, COMMAND_NAMES, `remote command "${name}"`);
    this.#commands.set(name, {
      name,
      kind,
      alias: options.alias ?? null,
      help: options.help ?? "",
      signature: options.signature ?? "",
      args: options.args ?? [],
      variadic: options.variadic ?? null,
      isVisible: options.visible ?? true,
      run,
    });
  }

  /** Returns a command by its name or alias. */
  get(name: string): RemoteCommand | undefined {
    const found = this.#commands.get(name);
    if (found !== undefined) return found;
    for (const command of this.#commands.values()) if (command.alias === name) return command;
    return undefined;
  }

  /** Iterates over the commands in the order in which they were added. */
  [Symbol.iterator](): Iterator<RemoteCommand> {
    return this.#commands.values();
  }
}
