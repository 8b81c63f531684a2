/**
 * The steps of the worker's own blueprint: Timer, Hub, Pool, Consumer.
 *
 * Source: celery 5.2.6 worker/components.py.
 */

import type { Level } from "../base/mod.ts";
import type { Backend } from "../backend/mod.ts";
import { StartStopStep, Step } from "../blueprint/mod.ts";
import { poolFactory, type PoolOptions } from "../pool/mod.ts";
import { loadSerializer } from "../wire/mod.ts";
import type { WorkerCore } from "./core.ts";
import { handOn } from "./lane/hand_on.ts";
import { aborted } from "./stop.ts";

/** A step of Celery's boot order with nothing to do: our timers exist from the start. */
export class TimerStep extends Step<WorkerCore> {
  readonly name = "Timer";
}

/** Opens what the event loop needs before messages arrive: serializers and the result store. */
export class HubStep extends StartStopStep<WorkerCore> {
  readonly name = "Hub";
  override readonly requires = ["Timer"];
  #backend: Backend | null = null;

  override async start(worker: WorkerCore): Promise<void> {
    const { conf } = worker.app;
    const { accept_content, event_serializer, result_serializer, task_serializer } = conf;
    for (const name of [...accept_content, task_serializer, result_serializer, event_serializer]) {
      await loadSerializer(name);
    }
    this.#backend = await worker.app.openBackend();
  }

  override async stop(worker: WorkerCore): Promise<void> {
    if (worker.stopRequest.cold.aborted) return;
    await this.#backend?.flush();
  }
}

/** Builds the lane and the pool. */
export class PoolStep extends StartStopStep<WorkerCore> {
  readonly name = "Pool";
  override readonly requires = ["Hub"];

  override async start(worker: WorkerCore): Promise<void> {
    const { pool, given } = worker.options;
    if (pool === "solo" || given.poolFactory) void given.poolHead?.dismiss();
    const factory = given.poolFactory ??
      (pool === "solo" ? worker.support.solo : poolFactory(pool, given.poolHead));
    worker.consumer.connectAhead();
    const backend = await worker.app.openBackend();
    worker.buildLane(backend, (events) => factory(worker.world, poolOptions(worker), events));
    worker.app.handOn = (out) => handOn(worker.parts, out);
    worker.app.callElsewhere = (message, ended) => worker.parts.finalizer.callElsewhere(message, ended);
    const starting = worker.pool.start();
    starting.catch(() => {
      // Reported by the race below, unless a stop was asked for before it failed.
    });
    await Promise.race([starting, aborted(worker.stopRequest.any)]);
    worker.stopRequest.any.throwIfAborted();
  }

  /** Opens the lane when the event loop runs. */
  override register(worker: WorkerCore): void {
    worker.lane.open();
  }

  override close(worker: WorkerCore): void {
    if (worker.hasLane) worker.lane.close();
  }

  override async stop(worker: WorkerCore): Promise<void> {
    worker.app.handOn = null;
    if (worker.hasLane) await worker.endPool();
    worker.app.callElsewhere = null;
  }

  override info(worker: WorkerCore): Record<string, unknown> {
    if (!worker.hasLane) return { pool: "N/A" };
    const info = worker.pool.info();
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
export class WorkerConsumerStep extends StartStopStep<WorkerCore> {
  readonly name = "Consumer";
  override readonly last = true;

  override create(worker: WorkerCore): void {
    worker.consumer.build();
  }

  override start(worker: WorkerCore): Promise<void> {
    return worker.consumer.start();
  }

  override stop(worker: WorkerCore): Promise<void> {
    return worker.consumer.stop();
  }
}

function poolOptions(worker: WorkerCore): PoolOptions {
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
      printLevel: conf.worker_redirect_stdouts
        ? conf.worker_redirect_stdouts_level.toUpperCase() as Level
        : null,
      hasNoSandbox: [...app.tasks].every(([, { options }]) => !options.permissions && !options.memoryLimit),
    },
    publish: (batch, handOn) => app.publisher.publish(batch, { handOn }),
  };
}
