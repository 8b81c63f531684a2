/**
 * The steps of a worker.
 *
 * Steps that do not depend on each other are in Celery's order, so that the boot order reads the same.
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
import type { WorkerCore } from "./core.ts";
import { StateDbStep } from "./state_db.ts";

/** The consumer's steps, in order. */
export const CONSUMER_STEPS: readonly StepClass<Consumer>[] = [
  ConnectionStep,
  EventsStep,
  HeartStep,
  MingleStep,
  GossipStep,
  TasksStep,
  ControlStep,
  LoopStep,
];

/**
 * Makes one instance of each of the worker's steps, in order. `more` come before the consumer's, as Celery's
 * beat does.
 */
export function workerSteps(more: readonly StepClass<WorkerCore>[]): Step<WorkerCore>[] {
  const classes: readonly StepClass<WorkerCore>[] = [
    StateDbStep,
    TimerStep,
    HubStep,
    PoolStep,
    AutoscalerStep,
    ...more,
    WorkerConsumerStep,
  ];
  return classes.map((step) => new step());
}
