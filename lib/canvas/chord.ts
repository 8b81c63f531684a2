/**
 * Chords: a group (the header), and a call that gets the list of its results (the body).
 *
 * Source: celery 5.2.6 and 5.6 canvas.py _chord; protocol.md 8.3, 8.4.
 */

import { UsageError } from "../base/mod.ts";
import type { WireSignature } from "../wire/mod.ts";
import { firstFrozen, type Frozen } from "./frozen.ts";
import { Group, listOf } from "./group.ts";
import { appOf } from "./members.ts";
import { optionsFromWire, type SignatureLike, type SignatureOptions } from "./options.ts";
import type { CanvasResult, CanvasSender, SentResult } from "./sender.ts";
import {
  type FreezeOptions,
  registerKind,
  Signature,
  type StampingVisitor,
  toSignature,
} from "./signature.ts";
import { joinStamps } from "./stamps.ts";

/** A header of calls and the body that gets the list of their results. */
export class Chord<R = unknown, Sent extends CanvasResult = SentResult<R>> extends Signature<R, Sent> {
  /** The header: a list of calls, or a group once frozen. */
  get header(): Signature[] | Group {
    return this.kwargs["header"] as Signature[] | Group;
  }
  set header(header: Signature[] | Group) {
    this.kwargs["header"] = header;
  }
  /** The header's calls. */
  get tasks(): Signature[] {
    const header = this.header;
    return header instanceof Group ? header.tasks : header;
  }
  /** The body; null before one is given. */
  get body(): Signature<R> | null {
    return this.kwargs["body"] as Signature<R> | null;
  }
  set body(body: Signature<R> | null) {
    this.kwargs["body"] = body;
  }

  constructor(
    header: readonly SignatureLike[] | Group,
    body: SignatureLike | null,
    options: SignatureOptions | null = null,
    app: CanvasSender | null = null,
  ) {
    super("celery.chord", {
      kwargs: {
        kwargs: {},
        header: header instanceof Group && header.options.taskId
          ? header
          : (header instanceof Group ? header.tasks : header).map((task) => toSignature(task, app)),
        body: body === null ? null : toSignature(body, app),
      },
      options,
      subtaskType: "chord",
      app: app ?? appOf(header instanceof Group ? header.tasks : header) ??
        (body instanceof Signature ? body.app : null),
    });
  }

  /** Sends a copy with this body. Rejects as `applyAsync` does. */
  call(body: Signature<R>): Promise<Sent> {
    const copy = this.clone();
    copy.body = body;
    return copy.applyAsync();
  }

  protected override cloneKwargs(kwargs: Record<string, unknown>): Record<string, unknown> {
    const header = kwargs["header"] as Signature[] | Group;
    const body = kwargs["body"] as Signature | null;
    return {
      ...kwargs,
      header: header instanceof Group ? header.clone() : header.map((task) => task.clone()),
      body: body === null ? null : body.clone(),
    };
  }

  protected override kwargsToWire(): Record<string, unknown> {
    const header = this.header;
    return {
      ...this.kwargs,
      header: header instanceof Group ? header.toJSON() : header.map((task) => task.toJSON()),
      body: this.body === null ? null : this.body.toJSON(),
    };
  }

  /** Applies to the header; the body still gets its results. */
  override setImmutable(immutable: boolean): this {
    for (const task of this.tasks) task.setImmutable(immutable);
    return this;
  }

  override link<S extends SignatureLike>(callback: S): S {
    needBody(this).link(callback);
    return callback;
  }

  override linkError<S extends SignatureLike>(errback: S): S {
    if (this.sender.errbacksOnHeader) {
      for (const task of this.tasks) {
        task.linkError(toSignature(errback, this.app).clone().setImmutable(true));
      }
    }
    // A chord in the header gets the errback too, which is then called if that chord's body fails (Celery 5.3
    // and newer).
    for (const task of this.tasks) if (task instanceof Chord) task.linkError(errback);
    needBody(this).linkError(errback);
    return errback;
  }

  /** Freezes header and body; returns the body's result, whose first parent is the header's. */
  override freeze(how: FreezeOptions = {}): Frozen {
    if (!(this.header instanceof Group)) this.header = new Group(this.header, null, this.app);
    const header = this.header.freeze({ parentId: how.parentId, rootId: how.rootId, chord: this.body });
    this.options.taskId = header.id;
    if (this.body === null) return header;
    const body = this.body.freeze({
      id: how.id,
      rootId: how.rootId,
      chord: how.chord,
      groupId: how.groupId,
      groupIndex: how.groupIndex,
    });
    firstFrozen(body).parent ??= header;
    return body;
  }

  override chordSize(): number {
    return this.body === null ? 0 : this.body.chordSize();
  }

  override stampWith(
    visitor: StampingVisitor | null,
    append: boolean,
    stamps: Readonly<Record<string, unknown>>,
  ): void {
    const start = visitor?.onChordHeaderStart
      ? visitor.onChordHeaderStart(this, stamps)
      : visitor?.onGroupStart?.(new Group(this.tasks, null, this.app), stamps);
    const inner = joinStamps(stamps, start);
    this.stampLinks(visitor, append, inner);
    for (const task of this.tasks) task.stampWith(visitor, append, inner);
    visitor?.onChordHeaderEnd?.(this, inner);
    this.body?.stampWith(visitor, append, joinStamps(inner, visitor?.onChordBody?.(this, inner)));
  }
}

function needBody(chord: Pick<Chord, "body">): Signature {
  if (chord.body === null) throw new UsageError("Cannot link to a chord without a body");
  return chord.body;
}

registerKind("chord", (wire, app) => {
  const header = wire.kwargs?.["header"] as WireSignature[] | WireSignature | undefined;
  const body = wire.kwargs?.["body"] as WireSignature | null | undefined;
  if (header === null || typeof header !== "object") {
    throw new UsageError("Cannot read a chord: it has no header");
  }
  const read = Array.isArray(header) ? header : toSignature(header, app);
  const made = new Chord(
    read instanceof Group || Array.isArray(read) ? read : [read],
    body ?? null,
    optionsFromWire(wire.options),
    app,
  );
  made.args = wire.args ?? [];
  made.kwargs["kwargs"] = wire.kwargs?.["kwargs"] ?? {};
  return made;
});

/**
 * Returns a chord: the body gets the list of the header's results. Without a body it is sent by `call(body)`.
 *
 * @example
 * ```ts
 * import { chord } from "lovage";
 * import { add, sum } from "./tasks.ts";
 *
 * const result = await chord([add.s(1, 1), add.s(2, 2)], sum.s()).delay();
 * console.log(await result.get({ timeout: 5 })); // sum([2, 4])
 * ```
 *
 * @throws {UsageError} For a member of the header that is not a signature.
 */
export function chord<R = unknown, Sent extends CanvasResult = SentResult<R>>(
  header: Iterable<Signature> | Group,
  body: Signature<R, Sent> | null = null,
): Chord<R, Sent> {
  return new Chord<R, Sent>(header instanceof Group ? header : listOf([header]), body);
}
