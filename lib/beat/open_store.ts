/**
 * Opens the store of a beat: the schedule file; or memory, if that is asked for, or if the default file
 * cannot be made and the broker keeps the records.
 */

import type { App } from "../app/mod.ts";
import { errorText, OperatingError, UsageError } from "../base/mod.ts";
import { EXIT } from "../platform/mod.ts";
import { MemoryStore } from "./store_memory.ts";
import { KvStore } from "./store_kv.ts";
import type { ScheduleStore } from "./store.ts";

/** Names of schedulers that are accepted; all of them mean ours. */
const SCHEDULERS = /^(?:celery\.beat[:.])?(?:Persistent)?Scheduler$|^(?:persistent|kv|memory)$/;

/**
 * Opens the schedule file. Rejects with UsageError if it cannot be made (exit status 73) or the scheduler is
 * unknown. If the path is the default and beats share their records through the broker (`beat_lock`), a file
 * that cannot be made is only a warning, and states are kept in memory.
 */
export async function openStore(
  app: App,
  options: { schedule?: string | undefined; scheduler?: string | undefined } = {},
): Promise<ScheduleStore> {
  const { conf, world } = app;
  const scheduler = options.scheduler ?? conf.beat_scheduler;
  if (!SCHEDULERS.test(scheduler)) {
    throw new UsageError(
      `Unknown scheduler "${scheduler}": use persistent (the default) or memory (no file)`,
    );
  }
  if (/^(?:celery\.beat[:.])?(?:Scheduler|memory)$/.test(scheduler)) {
    return new MemoryStore(world.random.id());
  }
  const path = options.schedule ?? conf.beat_schedule_filename;
  try {
    return await KvStore.open(world, path);
  } catch (error) {
    if (!(error instanceof OperatingError) || error instanceof UsageError) throw error;
    const isAskedFor = options.schedule !== undefined || conf.isSet("beat_schedule_filename");
    if (isAskedFor || !conf.beat_lock) {
      throw new UsageError(`Cannot keep the schedule: ${errorText(error)}`, {
        cause: error,
        exitCode: EXIT.CANNOT_CREATE,
      });
    }
    world.log.warning(
      `beat: ${errorText(error)}: no schedule file is kept, the last runs are in the broker alone`,
    );
    return new MemoryStore(world.random.id());
  }
}
