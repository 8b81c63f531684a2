/**
 * Sending canvas signatures: chains, groups, chords, and single calls.
 *
 * A canvas is walked once, synchronously, and turned into messages. Then chords are registered in the result
 * store, and all messages are published in order, in batches.
 *
 * Source: celery 5.2.6 and 5.6 canvas.py run, _apply_tasks, _freeze_gid, backends/base.py
 * fallback_chord_unlock; protocol.md 4.6, 4.10, 8.4.
 */

import { assert, UsageError } from "../../base/mod.ts";
import {
  type CanvasResult,
  type CanvasSender,
  Chain,
  chainList,
  Chord,
  Chunks,
  firstFrozen,
  type Frozen,
  frozenTask,
  frozenTuple,
  Group,
  mergeOptions,
  optionList,
  routeName,
  Signature,
  type SignatureLike,
  type SignatureOptions as CanvasOptions,
  toSignature,
  unrollGroups,
  valueToWire,
  withoutEmptyGroups,
} from "../../canvas/mod.ts";
import { type ChainSteps, isSerializerLoaded, loadSerializer, revived, toJson } from "../../wire/mod.ts";
import type { AppCore } from "../core.ts";
import { currentTask } from "../call/current_task.ts";
import { applySignatureEagerly } from "./canvas_eager.ts";
import { chainSteps, type PreparedSend, type SendCall, type SendOptions } from "../call/send_options.ts";
import { callOptions } from "../conf/call_options.ts";

/** Maximum messages in a batch. */
const BATCH_MAX = 500;

/** A chord that is registered before its header is sent. */
interface ChordStart {
  readonly groupId: string;
  readonly size: number;
  readonly body: Signature;
  readonly header: Frozen;
  /** Kwargs of `celery.chord_unlock`, for a store that cannot count. */
  readonly interval: number | null;
  readonly maxRetries: number | null;
}

/** The state of walking a canvas: its messages and chords so far. */
interface Walk {
  readonly app: AppCore;
  readonly sends: PreparedSend[];
  readonly chords: ChordStart[];
}

const senders = new WeakMap<AppCore, CanvasSender>();

/** Returns an app as the canvas sees it; the same object every time for the same app. */
export function canvasSender(app: AppCore): CanvasSender {
  let sender = senders.get(app);
  if (sender) return sender;
  sender = {
    newId: () => app.world.random.id(),
    replyTo: () => app.backend.opened?.replyTo ?? app.oid,
    restored: (wire) => {
      const task = currentTask();
      return task === null || task.isIdle || !task.restored ? wire : task.restored(wire);
    },
    get linksChains(): boolean {
      return app.conf.task_protocol === 1;
    },
    get errbacksOnHeader(): boolean {
      return app.conf.task_allow_error_cb_on_chord_header;
    },
    applyAsync: (signature, args, kwargs, options) => {
      assert(signature instanceof Signature, "a sender is given signatures");
      return applySignature(app, signature, args, kwargs, options);
    },
    apply: (signature, args, kwargs, options) => {
      assert(signature instanceof Signature, "a sender is given signatures");
      return applySignatureEagerly(app, signature, args, kwargs, options);
    },
  };
  senders.set(app, sender);
  return sender;
}

/**
 * Sends a signature of any kind with partial arguments and options. Resolves with its result when the broker
 * has every message. Rejects with UsageError for a signature that cannot be sent (an empty chain, a link on a
 * group, a chord without a result store), else as `applyAsync` does; then some messages of a group may have
 * been sent.
 */
export async function applySignature(
  app: AppCore,
  signature: Signature,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  options: CanvasOptions,
): Promise<CanvasResult> {
  if (app.conf.task_always_eager) return await applySignatureEagerly(app, signature, args, kwargs, options);
  if (signature.subtaskType === null && !(signature instanceof Chunks)) {
    const call = signatureCall(app, signature, args, kwargs, options);
    return await app.send(call.name, call.args, call.kwargs, call.options);
  }
  await loadSerializers(app, signature);
  if (/^rpc:/.test(String(app.conf.result_backend ?? ""))) await app.backend.openToSend();
  const walk: Walk = { app, sends: [], chords: [] };
  const frozen = walkInto(walk, signature, args, kwargs, options);
  await publishWalk(walk);
  return app.resultFromTuple(frozenTuple(frozen));
}

/** Loads the serializers of the messages that are sent now. */
async function loadSerializers(app: AppCore, signature: Signature): Promise<void> {
  const names = new Set([app.conf.task_serializer]);
  for (const { task, options } of firstCalls(signature)) {
    const name = options.serializer || app.tasks.get(task)?.sendOptions.serializer;
    if (name) names.add(name);
  }
  for (const name of names) if (!isSerializerLoaded(name)) await loadSerializer(name);
}

/** Returns the calls of a canvas that become messages when it is sent; later steps travel inside them. */
function firstCalls(signature: Signature): Signature[] {
  if (signature instanceof Chain) {
    return withoutEmptyGroups(signature.tasks).slice(0, 1).flatMap(firstCalls);
  }
  if (signature instanceof Group) return signature.tasks.flatMap(firstCalls);
  if (!(signature instanceof Chord)) return [signature];
  const { body, tasks } = signature;
  return (tasks.length === 0 && body !== null ? [body] : tasks).flatMap(firstCalls);
}

/** Registers the chords and publishes the messages of a walk. */
async function publishWalk(walk: Walk): Promise<void> {
  const { app, chords, sends } = walk;
  if (chords.length > 0) {
    const backend = await app.openBackend();
    if (backend.kind === "disabled") {
      throw new UsageError("Cannot start a chord: it needs a result store (result_backend)");
    }
    if (backend.kind === "rpc") {
      throw new UsageError("Cannot start a chord: results over rpc:// do not reach other workers");
    }
    for (const chord of chords) {
      if (backend.countsChords) {
        const isNested = chord.header.members!.some((member) => member.members !== null);
        if (isNested) await backend.saveGroup(chord.groupId, toJson(frozenTuple(chord.header)));
        await backend.startChord(chord.groupId, chord.size);
      } else sends.unshift(prepareUnlock(app, chord));
    }
  }
  for (let from = 0; from < sends.length; from += BATCH_MAX) {
    await app.publishPrepared(sends.slice(from, from + BATCH_MAX));
  }
}

/**
 * Prepares the `celery.chord_unlock` task of a chord. Source: celery 5.2.6 backends/base.py
 * fallback_chord_unlock.
 */
function prepareUnlock(app: AppCore, chord: ChordStart): PreparedSend {
  const { body } = chord;
  const options = body instanceof Chain ? body.tasks[0]?.options ?? {} : body.options;
  const name = body instanceof Chain ? body.tasks[0]?.task ?? body.task : body.task;
  const task = app.tasks.get(name);
  const queue = options.queue || task?.options.queue ||
    (app.amqp.route(name, [], {}, null).queue?.name ?? null);
  return app.prepareSend({
    name: "celery.chord_unlock",
    args: [chord.groupId, body.toJSON()],
    kwargs: {
      interval: chord.interval,
      max_retries: chord.maxRetries,
      result: chord.header.members!.map(frozenTuple),
    },
    options: {
      countdown: 1,
      queue: queue as string | null,
      priority: options.priority ?? task?.options.priority ?? 0,
      ignoreResult: true,
      addToParent: false,
    },
  });
}

function walkInto(
  walk: Walk,
  signature: Signature,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  options: CanvasOptions,
): Frozen {
  if (signature instanceof Chain) return walkChain(walk, signature, args, kwargs, options);
  if (signature instanceof Group) return walkGroup(walk, signature, args, kwargs, options);
  if (signature instanceof Chord) return walkChord(walk, signature, args, kwargs, options);
  if (signature instanceof Chunks) {
    return walkGroup(walk, signature.group(), args, kwargs, { routeName: routeName(signature), ...options });
  }
  const { app } = walk;
  const prepared = app.prepareSend(signatureCall(app, signature, args, kwargs, options));
  walk.sends.push(prepared);
  return frozenTask(prepared.taskId);
}

function walkChain(
  walk: Walk,
  chain: Chain,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  over: CanvasOptions,
): Frozen {
  const { groupId, chord, taskId, link, linkError, rootId, groupIndex, ...rest } = mergeOptions(
    chain.options,
    over,
  );
  const { steps, results } = chain.prepare({
    args: chain.immutable ? chain.args : [...args, ...chain.args],
    kwargs,
    id: taskId,
    rootId,
    groupId,
    chord,
    groupIndex,
    linkError: linkError ?? null,
  });
  if (steps.length === 0) throw new UsageError("Cannot send an empty chain");
  for (const callback of optionList<SignatureLike>(link)) linkEnd(steps[0]!, callback);
  const first = steps.pop()!;
  const options: CanvasOptions = { ...rest };
  if (chain.sender.linksChains) delete options.chain;
  else if (steps.length > 0 || rest.chain) options.chain = [...chainList(rest.chain), ...steps];
  const sent = walkInto(walk, first, [], {}, options);
  // The result of a single step is what was sent: that of a group has the members.
  return steps.length === 0 ? sent : results[0]!;
}

/**
 * Adds a link to the last tasks of a signature. In a group each member gets the link, called with its own
 * result.
 */
function linkEnd(signature: Signature, callback: SignatureLike): void {
  if (signature instanceof Group) { for (const task of signature.tasks) linkEnd(task, callback); }
  else signature.link(callback);
}

function walkGroup(
  walk: Walk,
  group: Group,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  over: CanvasOptions,
): Frozen {
  if (over.link || over.linkError) {
    throw new UsageError("Cannot add link to group: use a chord, or link its tasks");
  }
  const all = mergeOptions(group.options, over);
  const steps = chainSteps(all.chain);
  if (steps !== null) return walkHeader(walk, group, args, all, steps);
  const { taskId, groupIndex: _index, link, linkError, addToParent, ...options } = all;
  const groupId = taskId || group.sender.newId();
  options.groupId = groupId;
  const members: Frozen[] = [];
  let size = 0;
  let body: SignatureLike | null = null;
  let groupIndex = 0;
  for (const one of unrollGroups(group.tasks)) {
    const task = one.clone();
    // Links of the group itself, for a chain that ends in the group, are added to each member.
    for (const callback of optionList<SignatureLike>(link)) linkEnd(task, callback);
    for (const errback of optionList<SignatureLike>(linkError)) task.linkError(errback);
    const frozen = task.freeze({ groupId, rootId: options.rootId, groupIndex: groupIndex++ });
    const chord = options.chord ?? task.options.chord ?? null;
    if (chord !== null && (task.options.groupId ?? groupId) === groupId) {
      size += task.chordSize();
      body = chord;
    }
    const sent = walkInto(walk, task, args, kwargs, { ...options, addToParent: false, chord });
    members.push(frozen.members === null && sent.members !== null ? sent : frozen);
  }
  const frozen: Frozen = { id: groupId, parent: null, members };
  if (body instanceof Signature && size > 0) {
    const start = { groupId, size, body, header: frozen, interval: null, maxRetries: null };
    // A member may have contributed to the same chord under this group's id: the outer count includes it.
    const inner = walk.chords.findIndex((one) => one.groupId === groupId);
    if (inner < 0) walk.chords.push(start);
    else walk.chords[inner] = start;
  }
  if (addToParent !== false) currentTask()?.addChild(frozenTuple(frozen));
  return frozen;
}

/**
 * Walks a group that is followed by further steps as the header of a chord, so that the next step gets the
 * list of all its results. Celery's client produces such a group from the body of a chord, or between chords.
 * Celery sends the next step once for each member, under the same id.
 */
function walkHeader(
  walk: Walk,
  group: Group,
  args: readonly unknown[],
  options: CanvasOptions,
  steps: ChainSteps,
): Frozen {
  const { taskId, groupId: _group, groupIndex: _index, chain: _chain, link, linkError, ...over } = options;
  const tasks = unrollGroups(group.tasks).map((task) => task.clone());
  for (const task of tasks) {
    leaveGroup(task);
    for (const callback of optionList<SignatureLike>(link)) linkEnd(task, callback);
    for (const errback of optionList<SignatureLike>(linkError)) task.linkError(errback);
  }
  const header = new Group(tasks, taskId ? { taskId } : null, group.app);
  const next = toSignature(steps.next, group.sender);
  const body = next.clone([], {}, steps.later === null ? null : { chain: steps.later });
  return walkChord(walk, new Chord(header, body, null, group.app), args, {}, over);
}

/** Removes a signature from the group that it was frozen for. */
function leaveGroup(signature: Signature): void {
  delete signature.options.groupId;
  if (signature instanceof Group) signature.tasks.forEach(leaveGroup);
  else if (signature instanceof Chain) signature.tasks.slice(-1).forEach(leaveGroup);
  else if (signature instanceof Chord && signature.body !== null) leaveGroup(signature.body);
}

function walkChord(
  walk: Walk,
  chord: Chord,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  over: CanvasOptions,
): Frozen {
  const { taskId: given, ...overOptions } = over;
  const { taskId: own, ...options } = mergeOptions(chord.options, overOptions);
  const replaced = kwargs["body"];
  const origin = replaced instanceof Signature ? replaced : chord.body;
  if (origin === null) throw new UsageError("Cannot send a chord without a body");
  const { link: _link, linkError: _errors, ...overBody } = overOptions;
  const body = origin.clone([], {}, overBody);
  const header = chord.header instanceof Group
    ? chord.header.clone()
    : new Group(chord.header, null, chord.app).clone();
  const groupId = header.options.taskId || chord.sender.newId();
  const rootId = body.options.rootId;
  const { link, linkError, ...forBody } = options;
  Object.assign(body.options, forBody);
  for (const callback of optionList<SignatureLike>(link)) linkEnd(body, callback);
  for (const errback of optionList<SignatureLike>(linkError)) body.linkError(errback);
  const frozen = body.freeze({ id: given ?? own, groupId, rootId });
  const { chain: _chain, chord: _chord, ...forHeader } = forBody;
  if (header.tasks.length === 0) {
    walkInto(walk, body, [[]], {}, {});
    firstFrozen(frozen).parent ??= { id: groupId, parent: null, members: [] };
    return frozen;
  }
  header.freeze({ groupId, chord: body, rootId });
  const partial = chord.immutable ? chord.args : [...args, ...chord.args];
  const sent = walkGroup(walk, header, partial, {}, { ...forHeader, taskId: groupId, chord: body });
  firstFrozen(frozen).parent ??= sent;
  return frozen;
}

/**
 * Returns the call for a signature of one task, with partial arguments and options. The options of a
 * registered task apply. Throws TypeError for arguments that do not fit such a task.
 */
export function signatureCall(
  app: AppCore,
  signature: Signature,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  options: CanvasOptions,
): SendCall {
  const merged = signature.merge(args, kwargs, options);
  const send = sendOptions(signature, merged.options);
  const task = app.tasks.get(signature.task);
  if (task && task.options.typing) task.checkArguments(merged.args, merged.kwargs);
  return {
    name: signature.task,
    args: merged.args.map(valueToWire),
    kwargs: wireKwargs(merged.kwargs),
    options: task ? callOptions(task, merged.args, merged.kwargs, send) : send,
  };
}

/** Options that are passed on unchanged; the sender reads the others. */
const CARRIED_OPTIONS: ReadonlySet<string> = new Set([
  "link",
  "linkError",
  "chain",
  "chord",
  "headers",
  "stamps",
]);

/** Converts a signature's options to send options. */
function sendOptions(signature: Signature, options: CanvasOptions): SendOptions {
  const route = options.routeName === undefined ? routeName(signature) : null;
  const names = options.stampedHeaders ?? [];
  const send: Record<string, unknown> = {};
  for (const name of Object.keys(options)) {
    const value = options[name];
    send[name] = CARRIED_OPTIONS.has(name) || names.includes(name) ? value : revived(value);
  }
  if (route !== null) send["routeName"] = route;
  if (names.length > 0) {
    const stamps: Record<string, unknown> = {};
    for (const name of names) {
      if (!(name in options)) continue;
      stamps[name] = options[name];
      delete send[name];
    }
    send["stamps"] = stamps;
  }
  return send as SendOptions;
}

function wireKwargs(kwargs: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const wire: Record<string, unknown> = {};
  for (const name of Object.keys(kwargs)) wire[name] = valueToWire(kwargs[name]);
  return wire;
}
