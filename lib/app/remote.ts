/**
 * Remote control as a user's code sees it: what `app.control` offers, and commands of one's own. The mailbox room
 * makes the first, the worker's panel runs the second.
 *
 * Source: celery 5.2.6 app/control.py Control, Inspect; worker/control.py control_command, inspect_command.
 */

import { namesOf, refuseUnknown, UsageError } from "../base/mod.ts";
import type { UserApp } from "./core.ts";

/** Whom a command is for, and how its replies are waited for. */
export interface RemoteOptions {
  /** One node or several; left out: all. */
  destination?: string | readonly string[];
  /** Nodes whose names match. Needs `matcher`; without one it selects everybody, as in Celery. */
  pattern?: string;
  /** "glob": shell style on the whole name; "pcre": a regular expression anchored at the start. */
  matcher?: "glob" | "pcre";
  /**
   * Seconds that replies are waited for at most; the wait ends when every node that is there has answered.
   * Default 1.
   */
  timeout?: number;
  /** Replies after which the wait ends. Default: as many as nodes are there, or as `destination` names. */
  limit?: number;
  /** Hears each reply as it comes. */
  onReply?(node: string, reply: unknown): void;
  /** Hears, after the wait, of nodes that are there and did not answer. */
  onSilent?(silent: SilentNodes): void;
  /** Ends the wait early; the call rejects with its reason. */
  abort?: AbortSignal;
}

/** Who did not answer. */
export interface SilentNodes {
  /** How many. */
  readonly count: number;
  /** Their names, where they are known. */
  readonly names: readonly string[];
}

/** Options of a command that is a broadcast unless `reply` is set. */
export interface CommandOptions extends RemoteOptions {
  /** Wait for replies. Default false. */
  reply?: boolean;
}

/** Replies by node name. */
export type Replies<T = unknown> = Record<string, T>;

/** A command's answer: `ok` or `error`, with Celery's text. */
export interface RemoteAnswer {
  ok?: unknown;
  error?: unknown;
}

/** A task as `inspect active` and its kin show it. Times are epoch seconds. */
export interface RequestInfo {
  id: string;
  name: string;
  args: unknown;
  kwargs: unknown;
  type: string;
  hostname: string;
  time_start: number | null;
  acknowledged: boolean;
  delivery_info: {
    exchange: string;
    routing_key: string;
    priority: number | null;
    redelivered: boolean | null;
  };
  worker_pid: number | null;
}

/** Questions to workers. Each resolves with the replies by node; empty where nobody answered. */
export interface Inspect {
  ping(): Promise<Replies<RemoteAnswer>>;
  /** Tasks that run. `safe`: arguments as text. */
  active(options?: { safe?: boolean }): Promise<Replies<RequestInfo[]>>;
  /** Tasks that wait for a slot. */
  reserved(): Promise<Replies<RequestInfo[]>>;
  /** Tasks held until their eta. */
  scheduled(): Promise<Replies<{ eta: string | null; priority: number; request: RequestInfo }[]>>;
  /** Ids of revoked tasks. */
  revoked(): Promise<Replies<string[]>>;
  /** Names of tasks, with the given attributes. */
  registered(...attributes: string[]): Promise<Replies<string[]>>;
  stats(): Promise<Replies<Record<string, unknown>>>;
  activeQueues(): Promise<Replies<Record<string, unknown>[]>>;
  conf(options?: { withDefaults?: boolean }): Promise<Replies<Record<string, unknown>>>;
  report(): Promise<Replies<RemoteAnswer>>;
  clock(): Promise<Replies<{ clock: number }>>;
  queryTask(...ids: string[]): Promise<Replies<Record<string, [string, RequestInfo]>>>;
  hello(fromNode: string, revoked?: Record<string, unknown>): Promise<Replies>;
  memsample(): Promise<Replies<string | null>>;
  memdump(samples?: number): Promise<Replies<string>>;
  /** Any inspect command by its name, those of users too. */
  ask(command: string, args?: Record<string, unknown>): Promise<Replies>;
}

/** Remote control: `app.control`. Commands resolve with the replies by node, empty without `reply`. */
export interface Control {
  /** A set of questions to the same nodes. */
  inspect(options?: RemoteOptions): Inspect;
  /** Any command by its name. */
  broadcast(
    command: string,
    options?: CommandOptions & { arguments?: Record<string, unknown> },
  ): Promise<Replies>;
  /** Asks all nodes, or the given ones, whether they are there. */
  ping(options?: RemoteOptions): Promise<Replies<RemoteAnswer>>;
  /** Has tasks discarded wherever they arrive; `terminate` also ends those that run, by `signal`. */
  revoke(
    ids: string | readonly string[],
    options?: CommandOptions & { terminate?: boolean; signal?: string },
  ): Promise<Replies>;
  /** Revokes by stamps: `{ monitoring_id: ["a"] }`. */
  revokeByStampedHeaders(
    headers: Record<string, unknown>,
    options?: CommandOptions & { terminate?: boolean; signal?: string },
  ): Promise<Replies>;
  /** `revoke` that also ends what runs. */
  terminate(
    ids: string | readonly string[],
    options?: CommandOptions & { signal?: string },
  ): Promise<Replies>;
  /** "10/m", a number a second, or 0 for none. */
  rateLimit(taskName: string, rate: string | number, options?: CommandOptions): Promise<Replies>;
  /** Seconds; null lifts a limit. */
  timeLimit(
    taskName: string,
    limits: { soft?: number | null; hard?: number | null },
    options?: CommandOptions,
  ): Promise<Replies>;
  addConsumer(
    queue: string,
    options?: CommandOptions & {
      exchange?: string;
      exchangeType?: string;
      routingKey?: string;
      queueOptions?: Record<string, unknown>;
    },
  ): Promise<Replies>;
  cancelConsumer(queue: string, options?: CommandOptions): Promise<Replies>;
  enableEvents(options?: CommandOptions): Promise<Replies>;
  disableEvents(options?: CommandOptions): Promise<Replies>;
  /** Has workers send a heartbeat event now. */
  heartbeat(options?: CommandOptions): Promise<Replies>;
  poolGrow(n?: number, options?: CommandOptions): Promise<Replies>;
  poolShrink(n?: number, options?: CommandOptions): Promise<Replies>;
  poolRestart(
    options?: CommandOptions & { modules?: readonly string[]; reload?: boolean },
  ): Promise<Replies>;
  autoscale(max: number, min: number, options?: CommandOptions): Promise<Replies>;
  shutdown(options?: CommandOptions): Promise<Replies>;
  /** Holds an election among the workers; the winner does `action` where the topic is "task". */
  election(id: string, topic: string, action?: unknown): Promise<void>;
  /** Deletes what waits in the App's queues; how many messages. */
  purge(): Promise<number>;
  /** Ends its connection to the broker. A later call connects again. */
  close(): Promise<void>;
}

/** What a remote command's handler is given of the worker it runs in. */
export interface RemoteState {
  readonly app: UserApp;
  /** The worker's node name. */
  readonly hostname: string;
  /** The worker itself (`WorkController` of the worker room). */
  readonly worker: unknown;
}

/** How an argument's text on the command line is read. */
export type RemoteArgumentKind = "str" | "int" | "float" | "bool";

/** Facts of a remote command, for whoever calls it. */
export interface RemoteCommandFacts {
  readonly name: string;
  /** Inspect commands change nothing. */
  readonly kind: "control" | "inspect";
  /** Another name that workers answer to. */
  readonly alias: string | null;
  /** One line. */
  readonly help: string;
  /** Its arguments as the help shows them: `<task_name> <soft_secs> [hard_secs]`. */
  readonly signature: string;
  /** Positional arguments of the command line. */
  readonly args: readonly (readonly [name: string, kind: RemoteArgumentKind])[];
  /** The argument that takes all words left, as an array; null: none. */
  readonly variadic: string | null;
  /** Shown in lists and callable from the command line. */
  readonly isVisible: boolean;
}

/** Options of a remote command of the user's own. */
export interface RemoteCommandOptions {
  alias?: string;
  help?: string;
  signature?: string;
  args?: readonly (readonly [name: string, kind: RemoteArgumentKind])[];
  variadic?: string;
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

/** Does a command; what it returns (or resolves with) is the reply, what it throws becomes `{ error }`. */
export type RemoteHandler = (state: RemoteState, args: Record<string, unknown>) => unknown;

/** A remote command of the user's own. */
export interface RemoteCommand extends RemoteCommandFacts {
  readonly run: RemoteHandler;
}

/** The remote commands that an App's modules have added. */
export class RemoteCommands {
  #commands = new Map<string, RemoteCommand>();

  /** Adds one; a second of the same name takes its place, as in Celery. Throws UsageError without a function. */
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

  /** One by its name or alias. */
  get(name: string): RemoteCommand | undefined {
    const found = this.#commands.get(name);
    if (found !== undefined) return found;
    for (const command of this.#commands.values()) if (command.alias === name) return command;
    return undefined;
  }

  /** All of them, in the order they were added. */
  [Symbol.iterator](): Iterator<RemoteCommand> {
    return this.#commands.values();
  }
}
