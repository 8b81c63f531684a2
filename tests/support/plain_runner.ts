/**
 * A SlotRunner without app and tracer, for tests of pools: the user module exports functions, and an envelope
 * is `{"name", "id", "args"}`.
 */

import { AsyncLocalStorage } from "node:async_hooks";
import type { Outcome } from "../../lib/app/mod.ts";
import type { OpenRunner, RunnerHost, SlotJob, SlotRunner, TaskLabel } from "../../lib/pool/mod.ts";
import { fileUrl } from "../../lib/base/mod.ts";

/** The first parameter of the module's tasks. */
export interface PlainSelf {
  readonly signal: AbortSignal;
  readonly host: RunnerHost;
  readonly seq: number;
}

type PlainTask = (self: PlainSelf, ...args: unknown[]) => unknown;

const current = new AsyncLocalStorage<TaskLabel>();

/** Opens the runner with the module that `init.app` names. */
export const openPlainRunner: OpenRunner = async (_world, init, host) => {
  const module = await import(fileUrl(init.app!)) as Record<string, PlainTask>;
  return new PlainRunner(module, host);
};

class PlainRunner implements SlotRunner {
  #module: Record<string, PlainTask>;
  #host: RunnerHost;
  #running = new Map<number, AbortController>();

  constructor(module: Record<string, PlainTask>, host: RunnerHost) {
    this.#module = module;
    this.#host = host;
  }

  run(job: SlotJob): Outcome | Promise<Outcome> {
    const { name, id, args } = JSON.parse(job.envelope) as { name: string; id: string; args: unknown[] };
    const controller = new AbortController();
    this.#running.set(job.seq, controller);
    const ended = (outcome: Outcome): Outcome => {
      this.#running.delete(job.seq);
      return outcome;
    };
    try {
      const self: PlainSelf = { signal: controller.signal, host: this.#host, seq: job.seq };
      const value = current.run({ name, id }, () => this.#module[name]!(self, ...args));
      if (!(value instanceof Promise)) return ended(success(job.seq, value));
      const aborted = new Promise<never>((_, reject) => {
        controller.signal.addEventListener("abort", () => reject(controller.signal.reason));
      });
      return Promise.race([value, aborted]).then(
        (result) => ended(success(job.seq, result)),
        (error) => ended(failure(job.seq, error)),
      );
    } catch (error) {
      return ended(failure(job.seq, error));
    }
  }

  interrupt(seq: number, reason: string): void {
    this.#running.get(seq)?.abort(new Error(`interrupted: ${reason}`));
  }

  current(): TaskLabel | null {
    return current.getStore() ?? null;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function base(seq: number): Omit<Outcome, "kind" | "state" | "document" | "summary" | "exception"> {
  return {
    seq,
    runtime: 0,
    traceback: null,
    expected: false,
    requeue: false,
    chord: null,
  };
}

export function success(seq: number, value: unknown): Outcome {
  const document = JSON.stringify(value ?? null);
  return { ...base(seq), kind: "success", state: "SUCCESS", document, summary: document, exception: "" };
}

function failure(seq: number, error: unknown): Outcome {
  const text = error instanceof Error ? error.message : String(error);
  return { ...base(seq), kind: "failure", state: "FAILURE", document: text, summary: text, exception: text };
}
