/**
 * The sandboxes of one slot: isolates with just the permissions and the memory that a task declares.
 *
 * There is one warm isolate for each set of permissions and limit, in the process that the slot is in: a child
 * process, else the worker's own. It is started at the first task that asks for it; of idle ones the newest few are
 * kept. The slot's own limits, revocations and death hold for what it runs there: an isolate ends with its slot.
 *
 * What this promises and what not: docs/sandbox.md.
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

/** Idle isolates kept at most, in one slot. */
const IDLE_MAX = 4;
/** Milliseconds an isolate has to give up one task before it is ended whole. */
const GIVE_UP_MS = 250;

/** A task has used more memory than its `memoryLimit`. Its argument is the limit in MiB. */
class MemoryLimitExceeded extends Error {
  static readonly module: string = "lovage";
  override name = "MemoryLimitExceeded";
  readonly args: readonly [number];
  constructor(limitMib: number) {
    super(`More than ${limitMib} MiB of memory used`);
    this.args = [limitMib];
  }
}

/** Where sandboxes are, and what they come up with. */
export interface SandboxOptions {
  /** Other user code runs in this process at the same time. */
  readonly isShared: boolean;
  readonly isolates: IsolateOpener;
  /** Whose tasks they are. */
  readonly app: App;
}

/** A run that is on its way in an isolate. */
interface Waiting {
  readonly run: Run;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: Error) => void;
}

/** The sandboxes. */
export class Sandboxes implements Sandbox {
  #world: World;
  #init: ChildInit;
  #host: RunnerHost;
  #options: SandboxOptions;
  /** By permissions and limit; the one used last stands last. */
  #isolates = new Map<string, Isolate>();
  #bySeq = new Map<number, Isolate>();
  /** Every isolate that has not ended, also those that take no new tasks. */
  #living = new Set<Isolate>();
  /** Disarms the deadline of a task that was told to give up. */
  #deadlines = new Map<number, () => void>();
  #closed: PromiseWithResolvers<void> | null = null;
  /** Until then an isolate that was ended may still be busy, and the process grow by it. Monotonic. */
  #dyingUntilMs = -Infinity;

  constructor(world: World, init: ChildInit, host: RunnerHost, options: SandboxOptions) {
    this.#world = world;
    this.#init = init;
    this.#host = host;
    this.#options = options;
  }

  /** See Sandbox. Rejects with MemoryLimitExceeded, or with what kept the isolate from coming up. */
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

  /** Interrupts a task that runs here; one that does not give way to its end takes its isolate with it. */
  interrupt(seq: number, reason: InterruptReason, seconds: number): void {
    const isolate = this.#bySeq.get(seq);
    if (isolate === undefined) return;
    isolate.send(encodeFrame(FRAME.interrupt, toJson({ seq, reason, seconds })));
    if (reason === "soft") return;
    isolate.doubtful.add(seq);
    const { clock } = this.#world;
    this.#disarm(seq);
    const disarm = clock.arm(clock.monoMs() + GIVE_UP_MS, () => {
      if (isolate.jobs.has(seq)) isolate.end(null);
    });
    this.#deadlines.set(seq, disarm);
  }

  /**
   * Ends all of them, and resolves when each has ended or is known to be stuck, a fraction of a second later at most.
   * Idempotent.
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
    // One that does not give way may spin for ever: nothing new goes there, what runs there may end.
    if (isolate !== undefined && isolate.doubtful.size > 0) {
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
      isBlurred: () => this.#world.clock.monoMs() < this.#dyingUntilMs,
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
  /** Null: all that this program may. */
  readonly permissions: TaskPermissions | null;
  readonly limitKib: number | null;
  readonly isShared: boolean;
  readonly isBlurred: () => boolean;
  readonly isolates: IsolateOpener;
  readonly app: App;
  readonly onEnded: (isolate: Isolate) => void;
}

/** One isolate: jobs go in as frames, outcomes and all they tell come back. */
class Isolate {
  /** Sent and not ended, by number. */
  readonly jobs = new Map<number, Waiting>();
  /** Of these the ones that were told to end and have not answered. */
  readonly doubtful = new Set<number>();
  isEnded = false;
  /** It was ended with tasks in it, which may go on for a while. */
  wasBusy = false;
  /** It goes on although it was ended. */
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
  /** What it said of its failed start. */
  #failure: Error | null = null;
  /** Why it was ended from here; null: for no fault of its tasks. */
  #verdict: Error | null = null;
  #send: SendGuard;
  #onFrame = (frame: Frame): void => {
    // Nothing is heard of it any more.
    if (!this.isEnded || this.#verdict === null) this.#take(frame);
  };

  constructor(world: World, host: RunnerHost, options: IsolateOptions) {
    this.#host = host;
    this.#options = options;
    this.#send = new SendGuard(options.app, options.permissions);
    const { init, permissions, limitKib } = options;
    const heap = limitKib === null ? null : { words: createHeapWords(), limitKib };
    const mayDial = permissions === null || Boolean(permissions.net);
    // What strangers print stays in the log, whatever the setting says: it is escaped there.
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
        isBlurred: options.isBlurred,
        isBusy: () => this.jobs.size > 0,
        onExceeded: () => this.end(new MemoryLimitExceeded(heap.limitKib / 1024)),
      });
    }
  }

  /** True where what tasks have left behind takes much of the limit: the next one gets a fresh isolate. */
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

  /** Ends it when its last task has ended. */
  retire(): void {
    this.#isRetired = true;
    if (this.jobs.size === 0) this.end(null);
  }

  /** Ends it; its tasks fail with `verdict`, or are lost where it is null. */
  end(verdict: Error | null): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.wasBusy = this.jobs.size > 0;
    this.#verdict = verdict;
    this.#link.kill("SIGKILL");
  }

  /** User code may say anything here: what is not a frame, or not as it must be, is the end of the isolate. */
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
        // What is said when no task is there could be taken for the worker's own words.
        const text = label === null ? `Sandbox: ${frame.text}` : frame.text;
        return this.#host.log(checkedLevel(level), text, label);
      }
      case FRAME.publish:
        return this.#publish(decodePublish(frame));
    }
  }

  /** The task that a line is of: one of those that are here. */
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
    this.doubtful.delete(seq);
    if (this.#isRetired && this.jobs.size === 0) this.end(null);
  }

  #onEnded(end: SlotEnd): void {
    this.isEnded = true;
    this.isStuck = end.isStuck === true;
    this.#watch?.close();
    this.#options.onEnded(this);
    const failure = this.#verdict ?? this.#failure ??
      (this.#isReady || end.signal !== null ? null : loadError(uncaught(end.lastWords)));
    for (const [seq, { resolve, reject }] of this.jobs) {
      if (failure !== null) reject(failure);
      else resolve(lostOutcome({ seq }, end));
    }
    this.jobs.clear();
  }
}

/** All kinds, what is not named refused; lists in order, so that equal sets are equal texts. */
function permissionsOf(permissions: TaskPermissions): Record<string, boolean | "inherit" | string[]> {
  const full: Record<string, boolean | "inherit" | string[]> = {};
  for (const kind of PERMISSION_KINDS) full[kind] = grantOf(permissions[kind]);
  return full;
}

/** Without net the URLs of broker and store are of no use to a task, and the passwords in them none of its business. */
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

/** What stands for packages in a list of `import`, where Deno itself knows hosts alone. */
const PACKAGES = "npm:";

/** Whether modules may come from npm, and be made at run time, which then may import from there. */
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

/** The error of modules that could not be loaded with what the task may touch: of their error's class. */
function loadError({ name, message }: { name: string; message: string }): Error {
  return Object.assign(new Error(`${message} (while the task's modules were loaded in its sandbox)`), {
    name,
  });
}

/** The class and message in an isolate's last words: "Uncaught (in promise) NotCapable: Requires …". */
function uncaught(text: string): { name: string; message: string } {
  const match = /^(?:Uncaught )?(?:\(in promise\) )?([A-Z]\w*): (.*)$/s.exec(text);
  return match === null
    ? { name: "Error", message: text || "the isolate ended" }
    : { name: match[1]!, message: match[2]! };
}
