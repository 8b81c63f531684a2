/**
 * Builds a parent from steps, starts them in order and ends them in reverse.
 *
 * Source: celery 5.2.6 celery/bootsteps.py Blueprint; its debug lines are Celery's, word for word.
 */

import { assert, errorText, type Log } from "../base/mod.ts";
import { bootOrder } from "./graph.ts";
import { StartStopStep, type Step } from "./step.ts";

/** Where a blueprint is in its life. It goes through them once, in this order. */
export type BlueprintState = "initializing" | "running" | "closing" | "terminating";

/** What a blueprint tells its owner. Each may be left out. */
export interface BlueprintHooks {
  /** Before the first step starts. */
  onStart?(): Promise<void> | void;
  /** Before the steps are closed. */
  onClose?(): Promise<void> | void;
  /** After the last step has stopped. */
  onStopped?(): Promise<void> | void;
}

/** The methods of a step that `sendAll` can call; steps that lack one are passed over. */
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

  /** Where it is in its life. */
  get state(): BlueprintState {
    return this.#state;
  }

  /** Every step in boot order, also those that were not included. */
  get order(): readonly Step<P>[] {
    return this.#order;
  }

  /** Orders `steps` and lets each included one build its part of `parent`. Throws CycleError. */
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

  /** Starts every service in order. Rejects with the first error; what started before it stays started. */
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

  /** What all steps tell `inspect stats`. */
  info(parent: P): Record<string, unknown> {
    const info: Record<string, unknown> = {};
    for (const step of this.#services) Object.assign(info, step.info(parent));
    return info;
  }

  /**
   * Calls one method of every service that has it, backwards unless `forward`. An error of a step is logged and the
   * others are called all the same.
   */
  async sendAll(
    parent: P,
    method: StepMethod,
    options: { description: string; forward?: boolean },
  ): Promise<void> {
    const steps = options.forward ? this.#services : [...this.#services].reverse();
    for (const step of steps) {
      const fn =
        (step as unknown as Record<StepMethod, ((parent: P) => Promise<void> | void) | undefined>)[method];
      if (typeof fn !== "function") continue;
      this.#debug(`${options.description} ${step.label}...`);
      try {
        await fn.call(step, parent);
      } catch (error) {
        this.#log.error(`Error on ${options.description.toLowerCase()} ${step.label}: ${errorText(error)}`);
      }
    }
  }

  /** Stops every service backwards, to be started again: after a connection was lost. */
  async restart(parent: P): Promise<void> {
    await this.sendAll(parent, "stop", { description: "Restarting" });
  }

  /**
   * Ends the blueprint: closes every service, then stops (or terminates) them backwards. What never started is
   * stopped too, since a step may have built something in `create`. Again is not an error.
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

  /** Calls `shutdown` of the services that have it: the last of the consumer's connections. */
  async shutdown(parent: P): Promise<void> {
    await this.sendAll(parent, "shutdown", { description: "Shutdown" });
  }

  #debug(text: string): void {
    if (this.#log.isOn("DEBUG")) this.#log.debug(`| ${this.name}: ${text}`);
  }
}
