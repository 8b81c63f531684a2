/**
 * The runner of every real slot: the user's app, loaded here again, and the tracer on it.
 *
 * What a slot shares with the worker goes through the host it is given: messages its tasks send are
 * published by the worker's own connection, states and events are stored and sent by it, log lines are its
 * lines.
 */

import { setCurrentWorld } from "../base/mod.ts";
import { type App, currentTask, loadApp, type Publisher, Tracer } from "../app/mod.ts";
import { decodeEnvelope, SoftTimeLimitExceeded, Terminated, TimeLimitExceeded } from "../wire/mod.ts";
import type { Outcome } from "../app/mod.ts";
import type { InterruptReason, OpenRunner, RunnerHost, SlotJob, SlotRunner, TaskLabel } from "./runner.ts";

/** Loads the app that `init` names and traces its tasks. */
export const openTaskRunner: OpenRunner = async (world, init, host) => {
  setCurrentWorld(world);
  const app = await loadApp(world, init.app, { settings: init.overrides, include: init.include });
  app.publisher = hostPublisher(host);
  return await taskRunner(app, init.hostname, host, () => app.close());
};

/** The runner on an app that is loaded already: solo runs tasks on the worker's own, and closes nothing. */
export async function taskRunner(
  app: App,
  hostname: string,
  host: RunnerHost,
  close: () => Promise<void> = () => Promise.resolve(),
): Promise<SlotRunner> {
  const tracer = new Tracer(app, host);
  await tracer.open();
  return new TaskRunner(tracer, hostname, close);
}

function hostPublisher(host: RunnerHost): Publisher {
  return {
    publish: (batch) => host.publish(batch),
    close: () => Promise.resolve(),
  };
}

class TaskRunner implements SlotRunner {
  #hostname: string;
  #tracer: Tracer;
  #close: () => Promise<void>;

  constructor(tracer: Tracer, hostname: string, close: () => Promise<void>) {
    this.#hostname = hostname;
    this.#tracer = tracer;
    this.#close = close;
  }

  run(job: SlotJob): Outcome | Promise<Outcome> {
    let { message, info } = job;
    if (message === undefined || info === undefined) {
      // The worker has decoded this envelope before: it cannot fail here.
      const decoded = decodeEnvelope(job.envelope);
      message = decoded.message;
      info = decoded.info;
      // What the broker says of the delivery, not what its sender wrote.
      if (info.redelivered !== job.redelivered) info = { ...info, redelivered: job.redelivered };
    }
    return this.#tracer.run({
      seq: job.seq,
      message,
      info,
      hostname: this.#hostname,
      timeLimit: job.timeLimit,
      softTimeLimit: job.softTimeLimit,
      headers: job.headers ?? null,
    });
  }

  interrupt(seq: number, reason: InterruptReason, seconds: number): void {
    this.#tracer.interrupt(seq, interruptError(reason, seconds));
  }

  current(): TaskLabel | null {
    const task = currentTask();
    return task === null ? null : { name: task.name, id: task.id };
  }

  async close(): Promise<void> {
    await this.#close();
  }
}

function interruptError(reason: InterruptReason, seconds: number): Error {
  if (reason === "soft") return new SoftTimeLimitExceeded();
  return reason === "hard" ? new TimeLimitExceeded(seconds) : new Terminated();
}
