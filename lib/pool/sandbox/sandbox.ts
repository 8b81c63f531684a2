/**
 * The sandboxes of one slot: isolates with exactly the permissions and the memory that a task declares.
 *
 * For each set of permissions and limit there is one warm isolate, in the process of the slot: a child
 * process, or the worker itself. It is started when the first task needs it; the most recently used idle
 * isolates are kept. The slot's limits, revocations and death apply to what runs in its isolates, which end
 * with the slot.
 *
 * docs/sandbox.md says what this promises and what it does not.
 */

import { errorText, filePath, maskUrl, type World } from "../../base/mod.ts";
import type { OutgoingMessage } from "../../transport/mod.ts";
import { fromTypedJson, ImproperlyConfigured, toJson } from "../../wire/mod.ts";
import {
  type App,
  checkedEvent,
  checkedLevel,
  checkedOutcome,
  checkedState,
  isManifest,
  type Outcome,
  PERMISSION_KINDS,
  type PermissionGrant,
  type ResolvedTaskOptions,
  type Run,
  type Sandbox,
  sandboxModules,
  SendGuard,
  type TaskPermissions,
  type TraceJob,
} from "../../app/mod.ts";
import { DYING_MS, type IsolateLink, type IsolateOpener } from "../link/isolate.ts";
import { encodeFrame, FRAME, type Frame, FrameReader, FrameWriter } from "../link/frame.ts";
import { createHeapWords, HeapWatch } from "./heap_watch.ts";
import type { SlotEnd } from "../link/link.ts";
import type { ChildInit } from "../pool.ts";
import type { InterruptReason, RunnerHost, TaskLabel } from "../runner.ts";
import { lostOutcome } from "../link/slot_end.ts";
import {
  appendJobs,
  decodeOutcome,
  decodePublish,
  type SlotPublish,
  type StartFailure,
} from "../link/slot_message.ts";

/** Maximum idle isolates of one slot. */
const IDLE_MAX = 4;
/** Milliseconds that an isolate has to give up one task before the isolate itself is ended. */
const GIVE_UP_MS = 250;

/** The error of a task that used more memory than its `memoryLimit`. Its argument is the limit in MiB. */
class MemoryLimitExceeded extends Error {
  static readonly module: string = "lovage";
  override name = "MemoryLimitExceeded";
  readonly args: readonly [number];
  constructor(limitMib: number) {
    super(`More than ${limitMib} MiB of memory used`);
    this.args = [limitMib];
  }
}

/** Options of a slot's sandboxes. */
export interface SandboxOptions {
  /** True if other user code runs in this process at the same time. */
  readonly isShared: boolean;
  readonly isolates: IsolateOpener;
  /** The app whose tasks run here. */
  readonly app: App;
}

/** A run that has been sent to an isolate. */
interface Waiting {
  readonly run: Run;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: Error) => void;
}

/** The sandboxes of one slot. */
export class Sandboxes implements Sandbox {
  #world: World;
  #init: ChildInit;
  #host: RunnerHost;
  #options: SandboxOptions;
  /** By permissions and limit; the most recently used is last. */
  #isolates = new Map<string, Isolate>();
  #bySeq = new Map<number, Isolate>();
  /** Every isolate that has not ended, including those that take no new tasks. */
  #living = new Set<Isolate>();
  /** Disarm functions of the deadlines of interrupted tasks, by number. */
  #deadlines = new Map<number, () => void>();
  #closed: PromiseWithResolvers<void> | null = null;
  /** Until then an isolate that was ended may still be busy and allocate. Monotonic milliseconds. */
  #dyingUntilMs = -Infinity;

  constructor(world: World, init: ChildInit, host: RunnerHost, options: SandboxOptions) {
    this.#world = world;
    this.#init = init;
    this.#host = host;
    this.#options = options;
  }

  /**
   * See Sandbox. Rejects with MemoryLimitExceeded, with the error that kept the isolate from starting, with
   * ImproperlyConfigured if the app has no file to load, and with an Error if the slot is closing.
   */
  async run(run: Run, job: TraceJob, options: ResolvedTaskOptions): Promise<Outcome> {
    const { permissions, memoryLimit } = options;
    const key = toJson([
      permissions === null ? null : [permissionsOf(permissions), permissions.send],
      memoryLimit,
    ]);
    const isolate = this.#isolate(key, permissions, memoryLimit);
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
    this.#bySeq.set(job.seq, isolate);
    isolate.run(job, { run, resolve, reject });
    try {
      return await promise;
    } finally {
      this.#bySeq.delete(job.seq);
      this.#disarm(job.seq);
      if (isolate.isOvergrown && isolate.jobs.size === 0) this.#drop(key, isolate);
    }
  }

  /**
   * Interrupts a task that runs here. If the task does not end in time after a hard limit, revoke or stop,
   * its isolate is ended.
   */
  interrupt(seq: number, reason: InterruptReason, seconds: number): void {
    const isolate = this.#bySeq.get(seq);
    if (isolate === undefined) return;
    isolate.send(encodeFrame(FRAME.interrupt, toJson({ seq, reason, seconds })));
    if (reason === "soft") return;
    isolate.interrupted.add(seq);
    const { clock } = this.#world;
    this.#disarm(seq);
    const disarm = clock.arm(clock.monoMs() + GIVE_UP_MS, () => {
      if (isolate.jobs.has(seq)) isolate.end(null);
    });
    this.#deadlines.set(seq, disarm);
  }

  /**
   * Ends all isolates. Resolves when each has ended or is known to be stuck, which takes a fraction of a
   * second at most. Idempotent.
   */
  close(): Promise<void> {
    if (this.#closed === null) {
      this.#closed = Promise.withResolvers();
      for (const isolate of this.#living) isolate.end(null);
      this.#isolates.clear();
      if (this.#living.size === 0) this.#closed.resolve();
    }
    return this.#closed.promise;
  }

  #disarm(seq: number): void {
    this.#deadlines.get(seq)?.();
    this.#deadlines.delete(seq);
  }

  #isolate(key: string, permissions: TaskPermissions | null, memoryLimit: number | null): Isolate {
    let isolate = this.#isolates.get(key);
    this.#isolates.delete(key);
    // An isolate that does not answer an interrupt may be in an endless loop: send it no new tasks; running
    // ones may end.
    if (isolate !== undefined && isolate.interrupted.size > 0) {
      isolate.retire();
      isolate = undefined;
    }
    if (isolate === undefined || isolate.isEnded) {
      if (this.#closed !== null) throw new Error("The slot is going away");
      isolate = this.#open(key, permissions, memoryLimit);
    }
    this.#isolates.set(key, isolate);
    let idle = 0;
    for (const [other, one] of [...this.#isolates].reverse()) {
      if (one.jobs.size === 0 && one !== isolate && ++idle > IDLE_MAX - 1) this.#drop(other, one);
    }
    return isolate;
  }

  #open(key: string, permissions: TaskPermissions | null, memoryLimit: number | null): Isolate {
    const { app } = this.#init;
    if (app === null || isManifest(app)) {
      const why = app === null ? "its App was not loaded from a file" : "its App is a manifest";
      throw new ImproperlyConfigured(`No sandbox for the task: ${why}`);
    }
    const isolate = new Isolate(this.#world, this.#host, {
      init: this.#init,
      modules: sandboxModules(app, this.#init.include),
      permissions,
      limitKib: memoryLimit === null ? null : memoryLimit * 1024,
      isShared: this.#options.isShared,
      isOtherDying: () => this.#world.clock.monoMs() < this.#dyingUntilMs,
      isolates: this.#options.isolates,
      app: this.#options.app,
      onEnded: (isolate) => {
        if (isolate.isStuck) this.#host.draining();
        if (isolate.wasBusy) this.#dyingUntilMs = this.#world.clock.monoMs() + DYING_MS;
        if (this.#isolates.get(key) === isolate) this.#isolates.delete(key);
        this.#living.delete(isolate);
        if (this.#living.size === 0) this.#closed?.resolve();
      },
    });
    this.#living.add(isolate);
    return isolate;
  }

  #drop(key: string, isolate: Isolate): void {
    if (this.#isolates.get(key) === isolate) this.#isolates.delete(key);
    isolate.end(null);
  }
}

interface IsolateOptions {
  readonly init: ChildInit;
  readonly modules: readonly string[];
  /** Null: all permissions of this program. */
  readonly permissions: TaskPermissions | null;
  readonly limitKib: number | null;
  readonly isShared: boolean;
  readonly isOtherDying: () => boolean;
  readonly isolates: IsolateOpener;
  readonly app: App;
  readonly onEnded: (isolate: Isolate) => void;
}

/** One isolate: jobs go in as frames; outcomes, states, events, log lines and messages come back. */
class Isolate {
  /** Jobs that were sent and have not ended, by number. */
  readonly jobs = new Map<number, Waiting>();
  /** Jobs of these that were interrupted and have not ended yet. */
  readonly interrupted = new Set<number>();
  isEnded = false;
  /** True if it was ended with tasks in it, which may go on for a while. */
  wasBusy = false;
  /** True if it goes on although it was ended. */
  isStuck = false;
  #isRetired = false;
  #host: RunnerHost;
  #options: IsolateOptions;
  #link: IsolateLink;
  #reader = new FrameReader();
  #writer = new FrameWriter();
  #watch: HeapWatch | null = null;
  #isReady = false;
  #frameNumber = 0;
  /** The error that it reported for a failed start. */
  #failure: Error | null = null;
  /** The error for which it was ended from here; null if its tasks were not at fault. */
  #verdict: Error | null = null;
  #send: SendGuard;
  #onFrame = (frame: Frame): void => {
    // Frames are ignored after it was ended for a fault.
    if (!this.isEnded || this.#verdict === null) this.#take(frame);
  };

  constructor(world: World, host: RunnerHost, options: IsolateOptions) {
    this.#host = host;
    this.#options = options;
    this.#send = new SendGuard(options.app, options.permissions);
    const { init, permissions, limitKib } = options;
    const heap = limitKib === null ? null : { words: createHeapWords(), limitKib };
    const mayDial = permissions === null || Boolean(permissions.net);
    // Output of a sandbox always goes to the log, whatever the setting, because the log escapes it.
    const child = { ...init, printLevel: init.printLevel ?? "WARNING" } as const;
    const slot = {
      child: mayDial ? child : withoutPasswords(child),
      name: "sandbox",
      reportMemory: false,
      isConcurrent: true,
      watchParent: false,
    };
    this.#link = options.isolates.open({
      first: { init: slot, journal: null, heap },
      modules: options.modules,
      permissions: permissions === null ? null : permissionsOf(permissions),
      mayDial,
      maySignal: permissions === null || Boolean(permissions.run),
      mayImport: permissions === null || mayImport(permissions.import),
      mayKeep: permissions === null || permissions.write === true || permissions.write === "inherit",
    }, {
      onBytes: (bytes) => this.#feed(bytes),
      onEnded: (end) => this.#onEnded(end),
    });
    if (heap !== null) {
      this.#watch = new HeapWatch(world, {
        ...heap,
        isShared: options.isShared,
        isOtherDying: options.isOtherDying,
        isBusy: () => this.jobs.size > 0,
        onExceeded: () => this.end(new MemoryLimitExceeded(heap.limitKib / 1024)),
      });
    }
  }

  /**
   * True if memory left by earlier tasks exceeds half of the limit: then the next task gets a fresh isolate.
   */
  get isOvergrown(): boolean {
    return this.#watch !== null && this.#watch.grownKib > this.#options.limitKib! / 2;
  }

  run(job: TraceJob, waiting: Waiting): void {
    this.jobs.set(job.seq, waiting);
    appendJobs(this.#writer, ++this.#frameNumber, [{
      seq: job.seq,
      envelope: job.source?.envelope ?? "",
      queue: "",
      redelivered: job.info.redelivered,
      timeLimit: job.timeLimit,
      softTimeLimit: job.softTimeLimit,
      ...job.ended ? { ended: job.ended } : {},
    }]);
    this.#link.send(this.#writer.take());
    if (this.#isReady) this.#watch?.touch();
  }

  send(bytes: Uint8Array): void {
    this.#link.send(bytes);
  }

  /** Ends the isolate when its last task has ended. */
  retire(): void {
    this.#isRetired = true;
    if (this.jobs.size === 0) this.end(null);
  }

  /** Ends the isolate. Its tasks fail with `verdict`, or are lost if that is null. */
  end(verdict: Error | null): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.wasBusy = this.jobs.size > 0;
    this.#verdict = verdict;
    this.#link.kill("SIGKILL");
  }

  /**
   * Takes bytes from the isolate. User code may have sent them: an invalid frame, or an invalid value in one,
   * ends the isolate.
   */
  #feed(bytes: Uint8Array): void {
    try {
      this.#reader.feed(bytes, this.#onFrame);
    } catch (error) {
      this.end(error instanceof Error ? error : new Error(errorText(error)));
    }
  }

  #take(frame: Frame): void {
    switch (frame.type) {
      case FRAME.ready:
        this.#isReady = true;
        if (this.jobs.size > 0) this.#watch?.touch();
        return;
      case FRAME.failed:
        if (!this.#isReady) this.#failure = loadError(fromTypedJson(frame.head) as StartFailure);
        return;
      case FRAME.outcome: {
        const outcome = decodeOutcome(frame);
        const waiting = this.jobs.get(outcome.seq);
        if (waiting === undefined) return;
        const checked = checkedOutcome(waiting.run, outcome);
        this.#forget(outcome.seq);
        return waiting.resolve(checked);
      }
      case FRAME.state: {
        const [seq, state, form] = fromTypedJson(frame.head) as [number, unknown, number];
        if (!this.jobs.has(seq)) return;
        const document = form === 1 ? frame.text : frame.tail ?? new Uint8Array(0);
        return this.#host.onState(seq, checkedState(state), document);
      }
      case FRAME.event: {
        const [seq, type, fields] = fromTypedJson(frame.head) as [number, unknown, unknown];
        return this.jobs.has(seq) ? this.#host.onEvent(seq, ...checkedEvent(type, fields)) : undefined;
      }
      case FRAME.log: {
        const [level, task] = fromTypedJson(frame.head) as [unknown, unknown];
        const label = this.#labelOf(task);
        // A line without a task could be mistaken for the worker's own.
        const text = label === null ? `Sandbox: ${frame.text}` : frame.text;
        return this.#host.log(checkedLevel(level), text, label);
      }
      case FRAME.publish:
        return this.#publish(decodePublish(frame));
    }
  }

  /** Returns the task of a log line: the one it names if that runs here, else any task that does. */
  #labelOf(task: unknown): TaskLabel | null {
    const [name, id] = Array.isArray(task) ? task as unknown[] : [null, null];
    const runs = [...this.jobs.values()].map(({ run }) => run);
    const own = runs.find((run) => run.name === name && run.id === id) ?? runs[0];
    return own === undefined ? null : { name: own.name, id: own.id };
  }

  #publish({ id, batch, handOn }: SlotPublish): void {
    const answer = (error: { name: string; message: string } | null) =>
      this.#link.send(encodeFrame(FRAME.published, toJson([id, error])));
    const refuse = (error: unknown) =>
      answer({ name: error instanceof Error ? error.name : "Error", message: errorText(error) });
    let checked: OutgoingMessage[];
    try {
      checked = this.#send.checked(batch, [...this.jobs.values()].map(({ run }) => run));
    } catch (error) {
      return refuse(error);
    }
    this.#host.publish(checked, handOn === true && batch.length === 1).then(() => answer(null), refuse);
  }

  #forget(seq: number): void {
    this.jobs.delete(seq);
    this.interrupted.delete(seq);
    if (this.#isRetired && this.jobs.size === 0) this.end(null);
  }

  #onEnded(end: SlotEnd): void {
    this.isEnded = true;
    this.isStuck = end.isStuck === true;
    this.#watch?.close();
    this.#options.onEnded(this);
    const failure = this.#verdict ?? this.#failure ??
      (this.#isReady || end.signal !== null ? null : loadError(uncaught(end.lastOutput)));
    for (const [seq, { resolve, reject }] of this.jobs) {
      if (failure !== null) reject(failure);
      else resolve(lostOutcome({ seq }, end));
    }
    this.jobs.clear();
  }
}

/**
 * Returns grants of every kind; kinds not named are refused. Lists are sorted, so that equal sets give equal
 * keys.
 */
function permissionsOf(permissions: TaskPermissions): Record<string, boolean | "inherit" | string[]> {
  const full: Record<string, boolean | "inherit" | string[]> = {};
  for (const kind of PERMISSION_KINDS) full[kind] = grantOf(permissions[kind]);
  return full;
}

/**
 * Masks passwords in URLs of settings. Without net permission a task cannot use the URLs of broker and store.
 */
function withoutPasswords(init: ChildInit): ChildInit {
  const masked = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(masked);
    return typeof value === "string" && value.includes("://") ? maskUrl(value) : value;
  };
  const overrides = Object.fromEntries(
    Object.entries(init.overrides).map(([name, value]) => [name, masked(value)]),
  );
  return { ...init, overrides };
}

/** The entry of an `import` list that allows packages; Deno itself has entries only for hosts. */
const PACKAGES = "npm:";

/**
 * Returns true if modules may be imported from npm, and created at run time; those may import from npm as
 * well.
 */
function mayImport(grant: PermissionGrant | undefined): boolean {
  if (grant === undefined || typeof grant === "boolean") return grant === true;
  return grant === "inherit" || grant.includes(PACKAGES);
}

function grantOf(grant: PermissionGrant | undefined): boolean | "inherit" | string[] {
  if (grant === undefined) return false;
  if (typeof grant === "boolean" || grant === "inherit") return grant;
  return grant.filter((one) => one !== PACKAGES)
    .map((one) => one instanceof URL ? one.protocol === "file:" ? filePath(one) : one.href : one)
    .sort();
}

/**
 * Returns the error for modules that could not be loaded with the task's permissions. Its name is the
 * original error's.
 */
function loadError({ name, message }: { name: string; message: string }): Error {
  return Object.assign(new Error(`${message} (while the task's modules were loaded in its sandbox)`), {
    name,
  });
}

/**
 * Returns the error's class and message from an isolate's last output: "Uncaught (in promise) NotCapable:
 * Requires …".
 */
function uncaught(text: string): { name: string; message: string } {
  const match = /^(?:Uncaught )?(?:\(in promise\) )?([A-Z]\w*): (.*)$/s.exec(text);
  return match === null
    ? { name: "Error", message: text || "the isolate ended" }
    : { name: match[1]!, message: match[2]! };
}
