/**
 * One call of one task as data: the parts that chains, groups and chords are made of.
 *
 * Source: celery 5.2.6 and 5.6 canvas.py Signature; protocol.md 8.3.
 */

import { namesOf, refuseUnknown, UsageError } from "../base/mod.ts";
import { ChainSteps, shownJson, type WireSignature } from "../wire/mod.ts";
import { type Frozen, frozenTask } from "./frozen.ts";
import {
  appendLink,
  mergeOptions,
  optionList,
  optionsFromWire,
  optionToWire,
  refuseUnknownInSignature,
  refuseWrongArguments,
  type SignatureLike,
  type SignatureOptions,
} from "./options.ts";
import {
  type CanvasResult,
  type CanvasSender,
  currentSender,
  currentSenderOrNull,
  type SentResult,
} from "./sender.ts";
import { joinStamps, putStamps, type Stamps } from "./stamps.ts";

/** Options of `freeze`: ids that the caller determines; each may be absent. */
export interface FreezeOptions {
  id?: string | null | undefined;
  groupId?: string | null | undefined;
  chord?: SignatureLike | null | undefined;
  rootId?: string | null | undefined;
  parentId?: string | null | undefined;
  groupIndex?: number | null | undefined;
}

/** The parts of a signature. */
export interface SignatureInit {
  args?: readonly unknown[] | null;
  kwargs?: Readonly<Record<string, unknown>> | null;
  options?: SignatureOptions | null;
  immutable?: boolean;
  subtaskType?: string | null;
  app?: CanvasSender | null;
}

const INIT_NAMES = namesOf<SignatureInit>({
  args: true,
  kwargs: true,
  options: true,
  immutable: true,
  subtaskType: true,
  app: true,
});

/**
 * Options of `stamp`: stamps by name, a visitor that returns more, and whether equal names collect their
 * values.
 */
export interface StampOptions {
  visitor?: StampingVisitor | null;
  /** True: a stamp that exists already becomes a list of both values. Default false: it is kept. */
  appendStamps?: boolean;
  [stamp: string]: unknown;
}

/**
 * Returns stamps during the traversal of a canvas. Each method returns stamps for its argument, or nothing.
 */
export interface StampingVisitor {
  onSignature(signature: Signature, stamps: Readonly<Record<string, unknown>>): Stamps;
  onGroupStart?(group: Signature, stamps: Readonly<Record<string, unknown>>): Stamps;
  onGroupEnd?(group: Signature, stamps: Readonly<Record<string, unknown>>): void;
  onChainStart?(chain: Signature, stamps: Readonly<Record<string, unknown>>): Stamps;
  onChainEnd?(chain: Signature, stamps: Readonly<Record<string, unknown>>): void;
  onChordHeaderStart?(chord: Signature, stamps: Readonly<Record<string, unknown>>): Stamps;
  onChordHeaderEnd?(chord: Signature, stamps: Readonly<Record<string, unknown>>): void;
  onChordBody?(chord: Signature, stamps: Readonly<Record<string, unknown>>): Stamps;
  onCallback?(callback: Signature, stamps: Readonly<Record<string, unknown>>): Stamps;
  onErrback?(errback: Signature, stamps: Readonly<Record<string, unknown>>): Stamps;
}

/**
 * The type of joined signatures: sending them resolves with the result of the last, or of the first if none
 * follows.
 */
export type Piped<First, Next extends readonly unknown[]> = Next extends readonly [...unknown[], infer Last]
  ? SentBy<Last>
  : Next extends readonly [] ? First
  : Signature;

/** A signature whose sending resolves with the same type as `S`. */
type SentBy<S> = S extends Signature<infer R, infer Sent> ? Signature<R, Sent> : Signature;

/** Reads a composite from its wire form. */
type FromWire = (wire: WireSignature, app: CanvasSender | null) => Signature;
/** The rules of `pipe`. They depend on all kinds of signatures, so pipe.ts installs them. */
type PipeRule = (left: Signature, right: Signature) => Signature;

const kinds = new Map<string, FromWire>();
let pipeRule: PipeRule | null = null;

/** Registers how a kind (`subtask_type`) is read from the wire. */
export function registerKind(subtaskType: string, fromWire: FromWire): void {
  kinds.set(subtaskType, fromWire);
}

/** Installs the rules of `pipe`. */
export function installPipe(rule: PipeRule): void {
  pipeRule = rule;
}

/**
 * A call as data: the task's name, arguments and options. `R` is what the task returns, `Sent` what sending it
 * resolves with.
 *
 * Partial arguments of `delay`, `applyAsync` and `clone` are put before its own, unless it is immutable.
 *
 * @example
 * ```ts
 * import { add } from "./tasks.ts";
 *
 * const plusTwo = add.s(2).set({ countdown: 5 });
 * const result = await plusTwo.delay(40);
 * console.log(await result.get({ timeout: 30 })); // 42
 * ```
 */
export class Signature<R = unknown, Sent extends CanvasResult = CanvasResult<R>> {
  readonly task: string;
  args: unknown[];
  kwargs: Record<string, unknown>;
  options: SignatureOptions;
  subtaskType: string | null;
  immutable: boolean;
  /** The app that sends it; null: the app that was created last. */
  app: CanvasSender | null;

  constructor(task: string, init: SignatureInit = {}) {
    refuseWrongArguments("make a signature of", task, init.args, init.kwargs);
    this.task = task;
    this.args = init.args ? [...init.args] : [];
    this.kwargs = init.kwargs ? { ...init.kwargs } : {};
    this.options = init.options ? { ...init.options } : {};
    this.subtaskType = init.subtaskType ?? null;
    this.immutable = init.immutable ?? false;
    this.app = init.app ?? null;
  }

  /** The frozen id, or null. */
  get id(): string | null {
    return this.options.taskId ?? null;
  }

  /** As `task`, so that code for Celery's tasks works with signatures too. */
  get name(): string {
    return this.task;
  }

  /** Sends it with these arguments before its own. Resolves and rejects as `applyAsync` does. */
  delay(...args: unknown[]): Promise<Sent> {
    return this.applyAsync(args);
  }

  /**
   * Sends it with partial arguments before its own and options over its own. Resolves with its result when
   * the broker has it. Rejects with UsageError for a wrong argument or option, with EncodeError for arguments that
   * cannot be encoded, and with an operating error if the broker did not accept it.
   */
  async applyAsync(
    args: readonly unknown[] | null = null,
    kwargs: Readonly<Record<string, unknown>> | null = null,
    options: SignatureOptions | null = null,
  ): Promise<Sent> {
    refuseWrongArguments("send task", this.task, args, kwargs);
    if (options !== null) refuseUnknownInSignature(options, this.task, this.options);
    return await this.sender.applyAsync(
      this,
      args ?? [],
      kwargs ?? {},
      options ?? {},
    ) as CanvasResult as Sent;
  }

  /**
   * Runs it in this process, without a broker. Resolves with its result when it has ended. Rejects with
   * UsageError for a wrong argument or option.
   */
  async apply(
    args: readonly unknown[] | null = null,
    kwargs: Readonly<Record<string, unknown>> | null = null,
    options: SignatureOptions | null = null,
  ): Promise<Sent> {
    refuseWrongArguments("run task", this.task, args, kwargs);
    if (options !== null) refuseUnknownInSignature(options, this.task, this.options);
    return await this.sender.apply(this, args ?? [], kwargs ?? {}, options ?? {}) as CanvasResult as Sent;
  }

  /** The app that sends it. */
  get sender(): CanvasSender {
    return this.app ?? currentSender();
  }

  /**
   * Returns its arguments and options joined with partial ones. An immutable signature keeps its arguments
   * unless `force`; a group id and stamps that are set are kept.
   */
  merge(
    args: readonly unknown[] | null,
    kwargs: Readonly<Record<string, unknown>> | null,
    options: SignatureOptions | null,
    force = false,
  ): { args: unknown[]; kwargs: Record<string, unknown>; options: SignatureOptions } {
    const joined = options === null ? this.options : mergeOptions(this.options, options);
    if (this.immutable && !force) return { args: this.args, kwargs: this.kwargs, options: joined };
    return {
      args: args && args.length > 0 ? [...args, ...this.args] : this.args,
      kwargs: kwargs && Object.keys(kwargs).length > 0 ? { ...this.kwargs, ...kwargs } : this.kwargs,
      options: joined,
    };
  }

  /** Returns a copy, with partial arguments before its own and options over its own. */
  clone(
    args: readonly unknown[] | null = null,
    kwargs: Readonly<Record<string, unknown>> | null = null,
    options: SignatureOptions | null = null,
  ): this {
    refuseWrongArguments("clone signature", this.task, args, kwargs);
    const merged = this.merge(args, kwargs, options);
    const copy = Object.create(Object.getPrototypeOf(this)) as this;
    return Object.assign(copy, {
      task: this.task,
      args: [...merged.args],
      kwargs: this.cloneKwargs(merged.kwargs),
      options: cloneOptions(merged.options),
      subtaskType: this.subtaskType,
      immutable: this.immutable,
      app: this.app,
    });
  }

  /** Copies kwargs; composites copy the signatures in them too. */
  protected cloneKwargs(kwargs: Record<string, unknown>): Record<string, unknown> {
    return { ...kwargs };
  }

  /** Returns a copy with other arguments, kwargs or options instead of its own. */
  replace(
    parts: { args?: readonly unknown[]; kwargs?: Record<string, unknown>; options?: SignatureOptions },
  ): this {
    const copy = this.clone();
    if (parts.args) copy.args = [...parts.args];
    if (parts.kwargs) copy.kwargs = { ...parts.kwargs };
    if (parts.options) copy.options = { ...parts.options };
    return copy;
  }

  /** Sets options, and whether it is `immutable`. Returns this. Throws UsageError for an unknown option. */
  set(options: SignatureOptions & { immutable?: boolean }): this {
    const { immutable: _, ...rest } = options;
    refuseUnknownInSignature(rest, this.task, this.options);
    for (const [name, value] of Object.entries(options)) {
      if (name === "immutable") {
        if (typeof value === "boolean") this.setImmutable(value);
      } else if (value !== undefined) this.options[name] = value;
    }
    return this;
  }

  /** Sets whether it takes results and partial arguments: an immutable signature does not. Returns this. */
  setImmutable(immutable: boolean): this {
    this.immutable = immutable;
    return this;
  }

  /** Adds a callback, which is sent with the result when this succeeds. Returns the callback. */
  link<S extends SignatureLike>(callback: S): S {
    appendLink(this.options, "link", callback);
    return callback;
  }

  /** Adds an errback, which is called when this fails for good. Returns the errback. */
  linkError<S extends SignatureLike>(errback: S): S {
    appendLink(this.options, "linkError", errback);
    return errback;
  }

  /** As `linkError`, but returns this. */
  onError(errback: SignatureLike): this {
    this.linkError(errback);
    return this;
  }

  /** Returns this and every signature linked to it, depth first. */
  flattenLinks(): Signature[] {
    const links = optionList<SignatureLike>(this.options.link);
    return [this, ...links.flatMap((link) => toSignature(link, this.app).flattenLinks())];
  }

  /** Joins signatures from left to right, as Celery's `|` does: group | task is a chord, and so on. */
  pipe<T extends readonly Signature[]>(...next: T): Piped<this, T>;
  pipe(...next: Signature[]): Signature {
    if (pipeRule === null) throw new UsageError("Cannot pipe: import canvas through its mod.ts");
    const rule = pipeRule;
    return next.reduce((left, right) => rule(left, right), this as Signature);
  }

  /** Assigns the ids of its result, once; returns that result. */
  freeze(how: FreezeOptions = {}): Frozen {
    const options = this.options;
    const id = options.taskId ||= how.id ?? this.sender.newId();
    if (how.rootId) options.rootId = how.rootId;
    if (how.parentId) options.parentId = how.parentId;
    if (options.replyTo === undefined) options.replyTo = this.sender.replyTo();
    if (how.groupId && options.groupId === undefined) options.groupId = how.groupId;
    if (how.chord) options.chord = how.chord;
    if (how.groupIndex !== null && how.groupIndex !== undefined) options.groupIndex = how.groupIndex;
    return frozenTask(id);
  }

  /** Returns how many completions it counts for in a chord's header. */
  chordSize(): number {
    return 1;
  }

  /** Stamps it, the signatures that it contains, and those that it links to. Returns this. */
  stamp(options: StampOptions): this {
    const { visitor = null, appendStamps = false, ...stamps } = options;
    this.stampWith(visitor, appendStamps, stamps);
    return this;
  }

  /** Does the work of `stamp` for one level of the traversal. */
  stampWith(
    visitor: StampingVisitor | null,
    append: boolean,
    stamps: Readonly<Record<string, unknown>>,
  ): void {
    this.stampLinks(visitor, append, stamps);
    putStamps(this.options, joinStamps(stamps, visitor?.onSignature(this, stamps)), append);
  }

  /**
   * Stamps the signatures that it links to. A chain, a group and a chord have no stamps themselves: sending
   * one would put them over the stamps of its parts.
   */
  protected stampLinks(
    visitor: StampingVisitor | null,
    append: boolean,
    stamps: Readonly<Record<string, unknown>>,
  ): void {
    for (const [name, hook] of [["link", "onCallback"], ["linkError", "onErrback"]] as const) {
      if (this.options[name] === undefined || this.options[name] === null) continue;
      this.options[name] = optionList<SignatureLike>(this.options[name]).map((link) => {
        const signature = toSignature(link, this.app);
        const given = visitor?.[hook]?.(signature, stamps);
        signature.stampWith(visitor, append, joinStamps(stamps, given));
        return signature;
      });
    }
  }

  /** Returns its wire form: plain data, with Celery's names and order. */
  toJSON(): WireSignature {
    return {
      task: this.task,
      args: this.args.map(valueToWire),
      kwargs: this.kwargsToWire(),
      options: optionsToWire(this.options),
      subtask_type: this.subtaskType,
      immutable: this.immutable,
    };
  }

  /** Returns its kwargs with all signatures in wire form. */
  protected kwargsToWire(): Record<string, unknown> {
    const wire: Record<string, unknown> = {};
    for (const name of Object.keys(this.kwargs)) wire[name] = valueToWire(this.kwargs[name]);
    return wire;
  }

  /** Reads a signature of any kind. Throws UsageError for anything else. */
  static fromWire(wire: WireSignature, app: CanvasSender | null = null): Signature {
    if (wire === null || typeof wire !== "object" || typeof wire.task !== "string") {
      throw new UsageError(
        `Cannot read a signature from ${shownJson(wire)}: it must be an object with a task`,
      );
    }
    const kind = wire.subtask_type ? kinds.get(wire.subtask_type) : undefined;
    if (kind) return kind(wire, app);
    return new Signature(wire.task, {
      args: wire.args ?? [],
      kwargs: wire.kwargs ?? {},
      options: optionsFromWire(wire.options),
      subtaskType: wire.subtask_type ?? null,
      immutable: wire.immutable ?? false,
      app,
    });
  }
}

/**
 * Returns a signature of a task by name. Given a signature, or its plain data as a task gets it as an argument,
 * returns a copy, for which `init` gives the app only.
 *
 * Source: celery 5.2.6 canvas.py signature.
 *
 * @example
 * ```ts
 * import { signature } from "lovage";
 *
 * const result = await signature("shop.add", { args: [2, 3], options: { queue: "sums" } }).delay();
 * ```
 *
 * @throws {UsageError} For an unknown option, or for anything that is not a signature.
 */
export function signature<S extends Signature>(task: S, init?: SignatureInit): S;
export function signature<R = unknown>(
  task: string | SignatureLike,
  init?: SignatureInit,
): Signature<R, SentResult<R>>;
export function signature(task: string | SignatureLike, init: SignatureInit = {}): Signature {
  // Celery's `signature` takes an App here, which lacks the methods of a sender.
  if (init.app && typeof init.app.applyAsync !== "function") {
    throw new UsageError("Cannot use an App as the sender of a signature: call app.signature(…)");
  }
  if (typeof task === "string") {
    refuseUnknown(init, INIT_NAMES, `signature "${task}"`);
    if (init.options) refuseUnknownInSignature(init.options, task);
    return new Signature(task, init);
  }
  return toSignature(task instanceof Signature ? task.clone() : task, init.app ?? null);
}

/** Returns the signature itself, or one read from its wire form. Throws UsageError for anything else. */
export function toSignature(value: SignatureLike, app: CanvasSender | null = null): Signature {
  if (value instanceof Signature) {
    if (app !== null && value.app === null) value.app = app;
    return value;
  }
  const wire = typeof (value as { toJSON?: unknown } | null)?.toJSON === "function"
    ? (value as { toJSON(): WireSignature }).toJSON()
    : (app ?? currentSenderOrNull())?.restored(value as WireSignature) ?? value as WireSignature;
  return Signature.fromWire(wire, app);
}

/** Returns the wire form of a signature. */
export function toWire(value: SignatureLike): WireSignature {
  return typeof (value as { toJSON?: unknown }).toJSON === "function"
    ? (value as { toJSON(): WireSignature }).toJSON()
    : value as WireSignature;
}

/** Returns an argument as it is sent: a signature in wire form, anything else unchanged. */
export function valueToWire(value: unknown): unknown {
  return value instanceof Signature ? value.toJSON() : value;
}

/** Returns options under the wire's names, with signatures in wire form. */
function optionsToWire(options: SignatureOptions): Record<string, unknown> {
  const wire: Record<string, unknown> = {};
  for (const name of Object.keys(options)) {
    const given = options[name];
    if (given === undefined) continue;
    const value = given instanceof ChainSteps ? given.all() : given;
    wire[optionToWire(name)] = name === "link" || name === "linkError" || name === "chain"
      ? Array.isArray(value) ? value.map(toWire) : value === null ? null : toWire(value as SignatureLike)
      : name === "chord" && value !== null
      ? toWire(value as SignatureLike)
      : value;
  }
  return wire;
}

/**
 * Copies options with their links. A chord's body stays the same object, since all tasks of its header share
 * it.
 */
function cloneOptions(options: SignatureOptions): SignatureOptions {
  const copy: SignatureOptions = { ...options };
  for (const name of ["link", "linkError"] as const) {
    const value = copy[name];
    if (value === undefined || value === null) continue;
    copy[name] = Array.isArray(value) ? value.map(cloneLink) : cloneLink(value as SignatureLike);
  }
  return copy;
}

function cloneLink(link: SignatureLike): SignatureLike {
  return link instanceof Signature ? link.clone() : link;
}
