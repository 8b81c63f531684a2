/**
 * Beat inside a worker (`worker -B`): a step of its blueprint.
 *
 * Source: celery 5.2.6 worker/components.py Beat.
 */

import type { App } from "../app/mod.ts";
import { errorText } from "../base/mod.ts";
import { StartStopStep } from "../blueprint/mod.ts";
import { Beat } from "./beat.ts";
import { openStore } from "./open_store.ts";

/** Options of a worker that beat uses. */
export interface EmbeddedBeatOptions {
  /** `-s`: the schedule file. */
  readonly schedule?: string | undefined;
  /** `--scheduler`. */
  readonly scheduler?: string | undefined;
  /** An object of the caller's; its `beat` is set while beat runs. */
  readonly shown?: { beat: Beat | null };
}

/**
 * Returns the step class of an App's beat, for `WorkController.create`. Its start fails as `openStore` does.
 * If beat fails later, that is logged, and the worker continues without beat.
 */
export function embeddedBeat(app: App, options: EmbeddedBeatOptions): new () => StartStopStep<unknown> {
  return class BeatStep extends StartStopStep<unknown> {
    override readonly name = "Beat";
    override readonly conditional = true;
    readonly #stopping = new AbortController();
    #running: Promise<void> | null = null;

    override async start(): Promise<void> {
      const beat = new Beat(app, { store: await openStore(app, options), isEmbedded: true });
      const { shown = { beat: null } } = options;
      shown.beat = beat;
      this.#running = beat.run(this.#stopping.signal).catch((error) => {
        app.world.log.critical(`beat raised exception ${errorText(error)}: this worker goes on without beat`);
      }).finally(() => void (shown.beat = null));
    }

    override async stop(): Promise<void> {
      this.#stopping.abort();
      await this.#running;
    }
  };
}
