/**
 * Which steps a worker is made of, and how other rooms add theirs.
 *
 * A step's place among those that do not wait for one another is Celery's, so that the boot order reads the same.
 */

import type { Step, StepClass } from "../blueprint/mod.ts";
import { AutoscalerStep } from "./autoscale.ts";
import { HubStep, PoolStep, TimerStep, WorkerConsumerStep } from "./components.ts";
import { ConnectionStep } from "./consumer/connection_step.ts";
import type { Consumer } from "./consumer/consumer.ts";
import { ControlStep } from "./consumer/control_step.ts";
import { EventsStep } from "./consumer/events_step.ts";
import { GossipStep } from "./consumer/gossip_step.ts";
import { HeartStep } from "./consumer/heart_step.ts";
import { LoopStep } from "./consumer/loop_step.ts";
import { MingleStep } from "./consumer/mingle_step.ts";
import { TasksStep } from "./consumer/tasks_step.ts";
import { StateDbStep } from "./state_db.ts";
import type { WorkController } from "./worker.ts";

/** What the steps of each blueprint are given. */
export interface StepParents {
  worker: WorkController;
  consumer: Consumer;
}

const WORKER_ORDER = ["StateDB", "Timer", "Hub", "Pool", "Autoscaler", "Beat", "Consumer"];
const CONSUMER_ORDER = [
  "Connection",
  "Events",
  "Heart",
  "Mingle",
  "Gossip",
  "Tasks",
  "Control",
  "Agent",
  "event loop",
];

const registered: { [K in keyof StepParents]: StepClass<StepParents[K]>[] } = {
  worker: [StateDbStep, TimerStep, HubStep, PoolStep, AutoscalerStep, WorkerConsumerStep],
  consumer: [ConnectionStep, EventsStep, HeartStep, MingleStep, GossipStep, TasksStep, ControlStep, LoopStep],
};

/**
 * Adds a step to every worker made from now on. The rooms of remote control, events, autoscaling and embedded beat
 * call this when they are loaded; once per class.
 */
export function registerStep<K extends keyof StepParents>(
  blueprint: K,
  step: StepClass<StepParents[K]>,
): void {
  const steps: StepClass<StepParents[K]>[] = registered[blueprint];
  if (!steps.includes(step)) steps.push(step);
}

/** One instance of every registered step, and of the given ones, Celery's first in Celery's order. */
export function orderedSteps<K extends keyof StepParents>(
  blueprint: K,
  extra: Iterable<StepClass<StepParents[K]>> = [],
): Step<StepParents[K]>[] {
  const order = blueprint === "worker" ? WORKER_ORDER : CONSUMER_ORDER;
  const place = (step: Step<StepParents[K]>): number => {
    const index = order.indexOf(step.name);
    return index < 0 ? order.length : index;
  };
  const classes: StepClass<StepParents[K]>[] = registered[blueprint];
  return [...classes, ...extra].map((step) => new step()).sort((a, b) => place(a) - place(b));
}
