/**
 * The steps of the worker's own blueprint: Timer, Hub, Pool, Consumer.
 *
 * Source: celery 5.2.6 worker/components.py.
 */

import { TimerHeap } from "../base/mod.ts";
import { StartStopStep, Step } from "../blueprint/mod.ts";
import { type PoolEvents, poolFactory, type PoolOptions } from "../pool/mod.ts";
import { loadSerializer } from "../wire/mod.ts";
import type { WorkController } from "./worker.ts";

/** Builds the heap of deadlines. */
export class TimerStep extends Step<WorkController> {
  readonly name = "Timer";

  override create(worker: WorkController): void {
    Object.assign(worker.parts, { timers: new TimerHeap(worker.world.clock) });
  }
}

/** What the loop needs before anything arrives: serializers, and the result store. */
export class HubStep extends StartStopStep<WorkController> {
  readonly name = "Hub";
  override readonly requires = ["Timer"];

  override async start(worker: WorkController): Promise<void> {
    const { conf } = worker.app;
    const { accept_content, event_serializer, result_serializer, task_serializer } = conf;
    for (const name of [...accept_content, task_serializer, result_serializer, event_serializer]) {
      await loadSerializer(name);
    }
    worker.parts.backend = await worker.app.openBackend();
  }

  override async stop(worker: WorkController): Promise<void> {
    if (worker.stopRequest.cold.aborted) return;
    await worker.parts.backend?.flush();
  }
}

/** The pool. */
export class PoolStep extends StartStopStep<WorkController> {
  readonly name = "Pool";
  override readonly requires = ["Hub"];

  override async start(worker: WorkController): Promise<void> {
    const { pool, given } = worker.options;
    if (pool === "solo" || given.poolFactory) given.poolHead?.dismiss();
    const factory = given.poolFactory ??
      (pool === "solo" ? worker.support.solo : poolFactory(pool, given.poolHead));
    worker.consumer.connectAhead();
    worker.parts.pool = factory(worker.world, poolOptions(worker), poolEvents(worker));
    // What the end of a task sends, such as the next step of its chain, is best done here where nobody waits.
    worker.app.claim = (out) => {
      if (!worker.lane.hasSlotForNext) return null;
      const strategy = worker.parts.strategies.get(String(out.message.headers["task"]));
      return worker.parts.state.consumer?.claim?.(out, strategy?.acksLate === false) ?? null;
    };
    await worker.pool.start();
  }

  /** The loop runs: jobs may go to the pool. */
  register(worker: WorkController): void {
    worker.lane.open();
  }

  override close(worker: WorkController): void {
    worker.lane.close();
  }

  override async stop(worker: WorkController): Promise<void> {
    worker.app.claim = null;
    if (worker.parts.pool) await worker.endPool();
  }

  override info(worker: WorkController): Record<string, unknown> {
    const info = worker.parts.pool?.info();
    if (!info) return { pool: "N/A" };
    return {
      pool: {
        "implementation": info.implementation,
        "max-concurrency": info.concurrency,
        "processes": info.pids,
        "max-tasks-per-child": info.maxTasksPerChild ?? "N/A",
        "put-guarded-by-semaphore": true,
        "timeouts": info.timeouts,
        "writes": info.writes,
      },
    };
  }
}

/** Runs the consumer's blueprint until the worker stops. */
export class WorkerConsumerStep extends StartStopStep<WorkController> {
  readonly name = "Consumer";
  override readonly last = true;

  override create(worker: WorkController): void {
    worker.consumer.build();
  }

  override start(worker: WorkController): Promise<void> {
    return worker.consumer.start();
  }

  override stop(worker: WorkController): Promise<void> {
    return worker.consumer.stop();
  }
}

function poolOptions(worker: WorkController): PoolOptions {
  const { app, options, world } = worker;
  const { conf } = app;
  return {
    concurrency: options.concurrency,
    maxTasksPerChild: options.maxTasksPerChild,
    maxMemoryPerChild: options.maxMemoryPerChild,
    procAliveTimeout: conf.worker_proc_alive_timeout,
    child: {
      app: worker.support.source.app,
      include: worker.support.source.include,
      overrides: conf.given(["config", "command line"]),
      hostname: worker.hostname,
      logLevel: world.log.level,
      logFile: options.given.logfile ?? null,
      isTaskEvents: options.taskEvents,
      hasNoSandbox: [...app.tasks].every(([, { options }]) => !options.permissions && !options.memoryLimit),
    },
    publish: (batch, isOver) => app.publisher.publish(batch, { isOver }),
  };
}

function poolEvents(worker: WorkController): PoolEvents {
  const { settler, lane, world } = worker;
  return {
    onAccepted: (jobs, pid) => settler.onAccepted(jobs, pid),
    onOutcomes: (batch, process) => settler.onOutcomes(batch, process),
    onState: (job, state, document) => settler.onState(job, state, document),
    onEvent: (job, type, fields) => settler.onEvent(job, type, fields),
    onFree: () => lane.dispatch(),
    onSlot: (change, slot) => {
      if (change === "ended" && slot.reason !== null && worker.stopRequest.way === null) {
        world.log.error(`Process '${slot.name}' pid:${slot.pid} exited with '${slot.reason}'`);
      }
    },
  };
}
