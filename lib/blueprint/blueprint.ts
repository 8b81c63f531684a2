/**
 * Builds a parent from steps, starts them in order and stops them in reverse order.
 *
 * Source: celery 5.2.6 celery/bootsteps.py Blueprint; the debug lines are the same as Celery's.
 */

import { assert, errorText, type Log } from "../base/mod.ts";
import { bootOrder } from "./graph.ts";
import { StartStopStep, type Step } from "./step.ts";

/** The state of a blueprint. It passes through them once, in this order. */
export type BlueprintState = "initializing" | "running" | "closing" | "terminating";

/** Calls from a blueprint to its owner. Each is optional. */
export interface BlueprintHooks {
  /** Called before the first step starts. */
  onStart?(): Promise<void> | void;
  /** Called before the steps are closed. */
  onClose?(): Promise<void> | void;
  /** Called after the last step has stopped. */
  onStopped?(): Promise<void> | void;
}

/** The methods of a step that `sendAll` can call. A step without the method is skipped. */
export type StepMethod = "start" | "close" | "stop" | "terminate" | "shutdown" | "register";

/** One blueprint, applied to one parent. */
export class Blueprint<P> {
  readonly name: string;
  #log: Log;
  #hooks: BlueprintHooks;
  #order: Step<P>[] = [];
  #services: StartStopStep<P>[] = [];
  #started = 0;
  #state: BlueprintState = "initializing";

  constructor(name: string, log: Log, hooks: BlueprintHooks = {}) {
    this.name = name;
    this.#log = log;
    this.#hooks = hooks;
  }

  /** The current state. */
  get state(): BlueprintState {
    return this.#state;
  }

  /** Every step in boot order, including steps that the parent excluded. */
  get order(): readonly Step<P>[] {
    return this.#order;
  }

  /** Orders `steps` and calls `create` of each step that the parent includes. Throws CycleError. */
  apply(parent: P, steps: readonly Step<P>[]): void {
    assert(this.#order.length === 0, "a blueprint is applied once");
    this.#debug("Preparing bootsteps.");
    const names = new Set(steps.map((step) => step.name));
    assert(names.size === steps.length, "the steps of a blueprint have names of their own");
    assert(steps.filter((step) => step.last).length <= 1, "one step of a blueprint is last");
    this.#debug("Building graph...");
    this.#order = bootOrder(steps);
    this.#debug(`New boot order: {${this.#order.map((step) => step.label).join(", ")}}`);
    for (const step of this.#order) {
      if (!step.isIncluded(parent)) continue;
      step.create(parent);
      if (step instanceof StartStopStep) this.#services.push(step);
    }
  }

  /** Starts every service in order. Rejects with the first error; services started before it stay started. */
  async start(parent: P): Promise<void> {
    this.#state = "running";
    await this.#hooks.onStart?.();
    for (let index = 0; index < this.#services.length; index++) {
      const step = this.#services[index]!;
      this.#debug(`Starting ${step.label}`);
      this.#started = index + 1;
      await step.start(parent);
      this.#log.debug("^-- substep ok");
    }
  }

  /** Returns what all steps report for `inspect stats`, merged by key. */
  info(parent: P): Record<string, unknown> {
    const info: Record<string, unknown> = {};
    for (const step of this.#services) Object.assign(info, step.info(parent));
    return info;
  }

  /**
   * Calls one method of every service that has it, in reverse order unless `forward`. An error is logged, and
   * the next service is called.
   */
  async sendAll(
    parent: P,
    method: StepMethod,
    options: { description: string; forward?: boolean },
  ): Promise<void> {
    const steps = options.forward ? this.#services : [...this.#services].reverse();
    for (const step of steps) {
      const fn = step[method];
      if (fn === undefined) continue;
      this.#debug(`${options.description} ${step.label}...`);
      try {
        await fn.call(step, parent);
      } catch (error) {
        this.#log.error(`Error on ${options.description.toLowerCase()} ${step.label}: ${errorText(error)}`);
      }
    }
  }

  /** Stops every service in reverse order, so that it can be started again after a connection was lost. */
  async restart(parent: P): Promise<void> {
    await this.sendAll(parent, "stop", { description: "Restarting" });
  }

  /**
   * Ends the blueprint: closes every service, then stops or terminates them in reverse order. Once the first
   * service was started, this includes those that were not, since a step may have built something in
   * `create`. If none was started, no service is called. Idempotent.
   */
  async stop(parent: P, options: { terminate?: boolean } = {}): Promise<void> {
    if (this.#state === "closing" || this.#state === "terminating") return;
    const wasStarted = this.#state === "running" && this.#started > 0;
    this.#state = "closing";
    await this.#hooks.onClose?.();
    if (wasStarted) {
      await this.sendAll(parent, "close", { description: "Closing", forward: true });
      if (options.terminate) await this.sendAll(parent, "terminate", { description: "Terminating" });
      else await this.sendAll(parent, "stop", { description: "Stopping" });
    }
    await this.#hooks.onStopped?.();
    this.#state = "terminating";
  }

  /** Calls `shutdown` of the services that have it, which close the last connections of the consumer. */
  async shutdown(parent: P): Promise<void> {
    await this.sendAll(parent, "shutdown", { description: "Shutdown" });
  }

  #debug(text: string): void {
    if (this.#log.isOn("DEBUG")) this.#log.debug(`| ${this.name}: ${text}`);
  }
}
