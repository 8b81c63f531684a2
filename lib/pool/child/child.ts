/**
 * The runner of every real slot: the user's app, loaded again in the slot, and the tracer on it.
 *
 * The slot shares with the worker through its host: the worker's connection publishes messages of tasks, the
 * worker stores states and sends events, and log lines go to the worker's log.
 */

import { setCurrentWorld } from "../../base/mod.ts";
import {
  type App,
  currentTask,
  followTimers,
  loadApp,
  loadSandboxedApp,
  type Publisher,
  signals,
  taskOfUncaught,
  Tracer,
} from "../../app/mod.ts";
import {
  decodeEnvelope,
  fromTypedJson,
  SoftTimeLimitExceeded,
  Terminated,
  TimeLimitExceeded,
} from "../../wire/mod.ts";
import type { Outcome } from "../../app/mod.ts";
import { activeTracing } from "../../trace/mod.ts";
import type { SandboxHandover } from "../../platform/mod.ts";
import type { ChildInit } from "../pool.ts";
import type { IsolateOpener } from "../link/isolate.ts";
import { IsolateHost } from "../sandbox/isolate_host.ts";
import { Sandboxes } from "../sandbox/sandbox.ts";
import type { InterruptReason, OpenRunner, RunnerHost, SlotJob, SlotRunner, TaskLabel } from "../runner.ts";

/**
 * Loads the app that `init` names and runs its tasks with the tracer. `isShared`: other user code runs in
 * this process at the same time. `isolates`: starts sandboxes, if this isolate must not start them itself.
 */
export function taskRunnerOpener(
  { isShared, isolates }: { isShared: boolean; isolates?: IsolateOpener },
): OpenRunner {
  return async (world, init, host) => {
    setCurrentWorld(world);
    const app = await loadApp(world, init.app, { settings: init.overrides, include: init.include });
    app.publisher = hostPublisher(host);
    return await taskRunner(app, init, host, {
      isShared,
      ...(isolates === undefined ? {} : { isolates }),
      close: () => app.close(),
    });
  };
}

/** The same for a sandbox, which may not read files. */
export function sandboxedRunnerOpener(handover: SandboxHandover): OpenRunner {
  return async (world, init, host) => {
    const app = await loadSandboxedApp(world, {
      app: init.app ?? "",
      include: init.include,
      settings: init.overrides,
      importModule: (path) => handover.importModule(path),
    });
    app.publisher = hostPublisher(host);
    const runner = await openRunner(app, init.hostname, host, null, () => app.close());
    handover.endLoading();
    return runner;
  };
}

/**
 * Makes the runner on a loaded app: solo uses the worker's own App, and passes no `close`. Waits for
 * receivers of `workerProcessInit` before it resolves, and for those of `workerProcessShutdown` when it is
 * closed. Rejects with what `Tracer.open` rejects with.
 */
export async function taskRunner(
  app: App,
  init: ChildInit,
  host: RunnerHost,
  options: { isShared: boolean; isolates?: IsolateOpener; close?: () => Promise<void> },
): Promise<SlotRunner> {
  const { host: { pid }, log } = app.world;
  const sandboxes = new Sandboxes(app.world, init, host, {
    app,
    isShared: options.isShared,
    isolates: options.isolates ?? new IsolateHost(app.world),
  });
  const runner = await openRunner(app, init.hostname, host, sandboxes, async () => {
    await signals.workerProcessShutdown.sendAndWait(null, { pid, exitcode: 0 }, log);
    await options.close?.();
  });
  await signals.workerProcessInit.sendAndWait(null, {}, log);
  return runner;
}

async function openRunner(
  app: App,
  hostname: string,
  host: RunnerHost,
  sandboxes: Sandboxes | null,
  close: () => Promise<void>,
): Promise<SlotRunner> {
  const tracer = new Tracer(app, host);
  tracer.sandbox = sandboxes;
  await tracer.open(hostname);
  const unfollow = followTimers();
  return new TaskRunner(tracer, hostname, sandboxes, () => {
    unfollow();
    return close();
  });
}

function hostPublisher(host: RunnerHost): Publisher {
  return {
    publish: (batch, options) => host.publish(batch, options?.handOn ?? false),
    close: () => Promise.resolve(),
  };
}

class TaskRunner implements SlotRunner {
  #hostname: string;
  #tracer: Tracer;
  #sandboxes: Sandboxes | null;
  #close: () => Promise<void>;

  constructor(tracer: Tracer, hostname: string, sandboxes: Sandboxes | null, close: () => Promise<void>) {
    this.#hostname = hostname;
    this.#tracer = tracer;
    this.#sandboxes = sandboxes;
    this.#close = close;
  }

  run(job: SlotJob): Outcome | Promise<Outcome> {
    let { message, info } = job;
    if (message === undefined || info === undefined) {
      // The worker has decoded this envelope before, so decoding cannot fail here.
      const decoded = decodeEnvelope(job.envelope, fromTypedJson);
      message = decoded.message;
      info = decoded.info;
      // The broker's flag counts, not the value that the sender wrote.
      if (info.redelivered !== job.redelivered) info = { ...info, redelivered: job.redelivered };
    }
    return this.#tracer.run({
      seq: job.seq,
      message,
      info,
      source: job,
      hostname: this.#hostname,
      timeLimit: job.timeLimit,
      softTimeLimit: job.softTimeLimit,
      headers: job.headers ?? null,
      ended: job.ended ?? null,
    });
  }

  interrupt(seq: number, reason: InterruptReason, seconds: number): void {
    this.#tracer.interrupt(seq, interruptError(reason, seconds));
    this.#sandboxes?.interrupt(seq, reason, seconds);
  }

  current(): TaskLabel | null {
    const task = currentTask();
    return task === null ? null : { name: task.name, id: task.id };
  }

  ofError(error: unknown): TaskLabel | null {
    const task = taskOfUncaught(error);
    return task === null ? null : { name: task.name, id: task.id };
  }

  async close(): Promise<void> {
    await this.#sandboxes?.close();
    await activeTracing()?.flush();
    await this.#close();
  }
}

function interruptError(reason: InterruptReason, seconds: number): Error {
  if (reason === "soft") return new SoftTimeLimitExceeded();
  return reason === "hard" ? new TimeLimitExceeded(seconds) : new Terminated();
}
