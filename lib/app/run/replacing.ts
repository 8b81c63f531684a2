/**
 * Replacing a running task by a signature, under the task's id.
 *
 * Source: celery 5.2.6 and 5.6 app/task.py replace; protocol.md 8.6.
 */

import {
  Chain,
  Chord,
  endsInGroup,
  optionList,
  Signature,
  type SignatureLike,
  toSignature,
} from "../../canvas/mod.ts";
import { Ignore, ImproperlyConfigured } from "../../wire/mod.ts";
import { canvasSender } from "../send/canvas_send.ts";
import type { Execution } from "./execution.ts";

/** Thrown by `self.replace`, to end the run. */
export class Replaced extends Ignore {
  override name = "Ignore";
  constructor() {
    super("Replaced by new task");
  }
}

/**
 * Gives a signature the place of a running task: its id, callbacks, errbacks, the rest of its chain, its
 * place in a group or chord. Throws ImproperlyConfigured for an empty chain and for a signature that is in a
 * chord already.
 */
export function replacementOf(run: Execution, given: Signature): Signature {
  const { request } = run;
  const app = canvasSender(run.app);
  let made = toSignature(given, app).clone();
  made.args = run.restored(made.args);
  made.kwargs = run.restored(made.kwargs);
  if (made.options.chord) {
    throw new ImproperlyConfigured("A signature replacing a task must not be part of a chord");
  }
  if (made instanceof Chain && made.tasks.length === 0) {
    throw new ImproperlyConfigured("Cannot replace with an empty chain");
  }
  // Celery does so only for a group; there the result of a task that was replaced by a chain ending in a
  // group never comes.
  if (endsInGroup(made)) {
    made = made.pipe(new Signature("celery.accumulate", { kwargs: { index: 0 }, app }));
  }
  // Stamp before linking the callbacks, which have their own stamps.
  if (request.stampedHeaders !== null) made.stamp(request.stamps);
  const last = made instanceof Chain ? made.tasks.at(-1)! : made;
  for (const callback of run.restored(request.callbacks) ?? []) last.link(callback);
  for (const errback of run.restored(request.errbacks) ?? []) made.linkError(errback);
  if (made instanceof Chain) {
    for (const link of optionList<SignatureLike>(made.options.link)) last.link(link);
    delete made.options.link;
  }
  made.freeze({ id: request.id });
  const carrier = made instanceof Chain ? made.tasks.at(-1)! : made;
  if (request.chord !== null) carrier.options.chord = run.restored(request.chord);
  if (request.group !== null) carrier.options.groupId = request.group;
  if (request.groupIndex !== null) carrier.options.groupIndex = request.groupIndex;
  // Over rpc the result goes to the caller's queue. Celery sends it to the worker's own queue, which has no
  // reader.
  if (request.replyTo !== null) carrier.options.replyTo = request.replyTo;
  made.options.rootId = request.rootId ?? request.id;
  made.options.replacedTaskNesting = request.replacedTaskNesting + 1;
  if (made instanceof Chain || made instanceof Chord) {
    const parts: Signature[] = made instanceof Chain ? made.tasks : made.body === null ? [] : [made.body];
    for (const part of parts) part.options.rootId ??= made.options.rootId;
  }
  for (const next of [...(run.restored(request.chain) ?? [])].reverse()) {
    made = made.pipe(toSignature(next, app));
  }
  return made;
}
