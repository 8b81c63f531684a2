/**
 * One call of one task as data: the parts that chains, groups and chords are made of.
 *
 * Source: celery 5.2.6 and 5.6 canvas.py Signature; protocol.md 8.3.
 */

import { namesOf, refuseUnknown, UsageError } from "../base/mod.ts";
import { ChainSteps, EncodeError, shownJson, toJson, type WireSignature } from "../wire/mod.ts";
import { type Frozen, frozenTask } from "./frozen.ts";
import {
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

/** How to freeze: ids that are given from outside; each may be absent. */
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

/** What `stamp` takes: stamps by name, a visitor that gives more, and whether equal names collect their values. */
export interface StampOptions {
  visitor?: StampingVisitor | null;
  /** True: a stamp that is there already becomes a list of both values. Default false: it is kept. */
  appendStamps?: boolean;
  [stamp: string]: unknown;
}

/** Gives stamps while a canvas is walked. Each returns stamps for what it is given, or nothing. */
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

/** Stamps of a visitor; `stampedHeaders` inside narrows which of the names are stamps. */
export type Stamps = Record<string, unknown> | null | undefined | void;

/** A chain of signatures, as sending it resolves: to the result of the last, or of the first if none follows. */
export type Piped<First, Next extends readonly unknown[]> = Next extends readonly [...unknown[], infer Last]
  ? SentBy<Last>
  : Next extends readonly [] ? First
  : Signature;

/** A signature of any kind that is sent as this one is. */
type SentBy<S> = S extends Signature<infer R, infer Sent> ? Signature<R, Sent> : Signature;

/** Makes a composite of its wire form. */
type FromWire = (wire: WireSignature, app: CanvasSender | null) => Signature;
/** The pipe rules; they know all kinds, so they install themselves (pipe.ts). */
type PipeRule = (left: Signature, right: Signature) => Signature;

const kinds = new Map<string, FromWire>();
let pipeRule: PipeRule | null = null;

/** Names how a kind (`subtask_type`) is read from the wire. */
export function registerKind(subtaskType: string, fromWire: FromWire): void {
  kinds.set(subtaskType, fromWire);
}

/** Installs the rules of `pipe`. */
export function installPipe(rule: PipeRule): void {
  pipeRule = rule;
}

/**
 * A call: the task's name, arguments, options. `R` is what the task returns, `Sent` what sending it resolves to.
 *
 * Partial arguments of `delay`, `applyAsync` and `clone` are put before its own, unless it is immutable.
 */
export class Signature<R = unknown, Sent extends CanvasResult = CanvasResult<R>> {
  readonly task: string;
  args: unknown[];
  kwargs: Record<string, unknown>;
  options: SignatureOptions;
  subtaskType: string | null;
  immutable: boolean;
  /** Who sends it; null: the app made last. */
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

  /** As `id`; Celery's duck typing with tasks. */
  get name(): string {
    return this.task;
  }

  /** Sends it. Resolves when the broker has it. */
  delay(...args: unknown[]): Promise<Sent> {
    return this.applyAsync(args);
  }

  /** Sends it with partial arguments before its own and options over its own. */
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

  /** Runs it here and now, without a broker. */
  async apply(
    args: readonly unknown[] | null = null,
    kwargs: Readonly<Record<string, unknown>> | null = null,
    options: SignatureOptions | null = null,
  ): Promise<Sent> {
    refuseWrongArguments("run task", this.task, args, kwargs);
    if (options !== null) refuseUnknownInSignature(options, this.task, this.options);
    return await this.sender.apply(this, args ?? [], kwargs ?? {}, options ?? {}) as CanvasResult as Sent;
  }

  /** Who sends it. */
  get sender(): CanvasSender {
    return this.app ?? currentSender();
  }

  /**
   * Its arguments and options joined with partial ones. An immutable signature keeps its arguments unless `force`; the
   * group id and stamps that are set stay.
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

  /** A copy, with partial arguments before and options over its own. */
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

  /** Copies what kwargs hold; composites copy their parts. */
  protected cloneKwargs(kwargs: Record<string, unknown>): Record<string, unknown> {
    return { ...kwargs };
  }

  /** A copy with other arguments, kwargs or options in place of its own. */
  replace(
    parts: { args?: readonly unknown[]; kwargs?: Record<string, unknown>; options?: SignatureOptions },
  ): this {
    const copy = this.clone();
    if (parts.args) copy.args = [...parts.args];
    if (parts.kwargs) copy.kwargs = { ...parts.kwargs };
    if (parts.options) copy.options = { ...parts.options };
    return copy;
  }

  /** Sets options; `immutable` among them sets that. Returns this. */
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

  /** An immutable signature takes no results and no partial arguments. */
  setImmutable(immutable: boolean): this {
    this.immutable = immutable;
    return this;
  }

  /** Sends `callback` with the result when this succeeds. Returns the callback. */
  link<S extends SignatureLike>(callback: S): S {
    appendLink(this.options, "link", callback);
    return callback;
  }

  /** Sends `errback` when this fails for good. Returns the errback. */
  linkError<S extends SignatureLike>(errback: S): S {
    appendLink(this.options, "linkError", errback);
    return errback;
  }

  /** As `linkError`, but returns this. */
  onError(errback: SignatureLike): this {
    this.linkError(errback);
    return this;
  }

  /** This and everything linked to it, depth first. */
  flattenLinks(): Signature[] {
    const links = optionList<SignatureLike>(this.options.link);
    return [this, ...links.flatMap((link) => toSignature(link, this.app).flattenLinks())];
  }

  /** Celery's `|`, from left to right, with its upgrades (group | task is a chord, …). */
  pipe<T extends readonly Signature[]>(...next: T): Piped<this, T>;
  pipe(...next: Signature[]): Signature {
    if (pipeRule === null) throw new UsageError("Cannot pipe: import canvas through its mod.ts");
    const rule = pipeRule;
    return next.reduce((left, right) => rule(left, right), this as Signature);
  }

  /** Gives it the ids it will have, once; the result to come. */
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

  /** How many completions it brings to a chord whose header it is in. */
  chordSize(): number {
    return 1;
  }

  /** Puts stamps on it and on all it holds or links to. Returns this. */
  stamp(options: StampOptions): this {
    const { visitor = null, appendStamps = false, ...stamps } = options;
    this.stampWith(visitor, appendStamps, stamps);
    return this;
  }

  /** What `stamp` does, one level of a walk. */
  stampWith(
    visitor: StampingVisitor | null,
    append: boolean,
    stamps: Readonly<Record<string, unknown>>,
  ): void {
    this.stampLinks(visitor, append, stamps);
    const all = joinStamps(stamps, visitor?.onSignature(this, stamps));
    const names = new Set(this.options.stampedHeaders ?? []);
    for (const [name, value] of Object.entries(all)) {
      const own = this.options[name];
      if (!names.has(name)) this.options[name] = value;
      else if (append && own !== value) this.options[name] = [...new Set([...asList(own), ...asList(value)])];
      names.add(name);
    }
    if (names.size > 0) this.options.stampedHeaders = [...names];
  }

  /**
   * Stamps what it links to. A chain, a group and a chord have no stamps themselves: what sends one would give them to
   * its parts over their own.
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

  /** Its wire form (plain data, Celery's names and order). */
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

  /** Its kwargs with all signatures inside in wire form. */
  protected kwargsToWire(): Record<string, unknown> {
    const wire: Record<string, unknown> = {};
    for (const name of Object.keys(this.kwargs)) wire[name] = valueToWire(this.kwargs[name]);
    return wire;
  }

  /** Reads a signature of any kind. Throws UsageError for what is not one. */
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
 * A signature of a task by name. Given a signature, or the plain data that one is where it comes as an argument: one
 * like it, of its own; `init` says the app alone then. Throws UsageError for anything else.
 *
 * Source: celery 5.2.6 canvas.py signature.
 */
export function signature<S extends Signature>(task: S, init?: SignatureInit): S;
export function signature<R = unknown>(
  task: string | SignatureLike,
  init?: SignatureInit,
): Signature<R, SentResult<R>>;
export function signature(task: string | SignatureLike, init: SignatureInit = {}): Signature {
  if (typeof task === "string") {
    refuseUnknown(init, INIT_NAMES, `signature "${task}"`);
    if (init.options) refuseUnknownInSignature(init.options, task);
    return new Signature(task, init);
  }
  return toSignature(task instanceof Signature ? task.clone() : task, init.app ?? null);
}

/** The signature itself, or one read from its wire form. */
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

/** The wire form of a signature. */
export function toWire(value: SignatureLike): WireSignature {
  return typeof (value as { toJSON?: unknown }).toJSON === "function"
    ? (value as { toJSON(): WireSignature }).toJSON()
    : value as WireSignature;
}

/** An argument as it travels: a signature in wire form, anything else as it is. */
export function valueToWire(value: unknown): unknown {
  return value instanceof Signature ? value.toJSON() : value;
}

/** Options under the wire's names, signatures inside in wire form. */
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

/** A copy whose links can be changed; the chord's body stays the same object, as all its header shares it. */
function cloneOptions(options: SignatureOptions): SignatureOptions {
  const copy: SignatureOptions = { ...options };
  for (const name of ["link", "linkError"] as const) {
    const value = copy[name];
    if (value === undefined || value === null) continue;
    copy[name] = Array.isArray(value) ? value.map(cloneLink) : cloneLink(value as SignatureLike);
  }
  return copy;
}

/** Adds to a list of links what is not there yet. */
function appendLink(options: SignatureOptions, name: "link" | "linkError", value: SignatureLike): void {
  const list = optionList<SignatureLike>(options[name]);
  const text = linkText(value);
  if (!list.some((item) => item === value || text !== null && linkText(item) === text)) list.push(value);
  options[name] = list;
}

/** A link as it is compared; null: it cannot be written, which sending it tells. */
function linkText(link: SignatureLike): string | null {
  try {
    return toJson(link);
  } catch (error) {
    if (error instanceof EncodeError) return null;
    throw error;
  }
}

function cloneLink(link: SignatureLike): SignatureLike {
  return link instanceof Signature ? link.clone() : link;
}

/** Stamps and a visitor's, without the visitor's own list of names. */
export function joinStamps(
  stamps: Readonly<Record<string, unknown>>,
  given: Stamps,
): Record<string, unknown> {
  const joined: Record<string, unknown> = { ...stamps };
  if (given) {
    const only = given["stampedHeaders"] as string[] | undefined;
    for (const [name, value] of Object.entries(given)) {
      if (name === "stampedHeaders") continue;
      if (only === undefined || only.includes(name)) joined[name] = value;
    }
  }
  return joined;
}

function asList(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [value];
}
