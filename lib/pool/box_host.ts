/** Starts sandboxes in this isolate, which lives as long as its process. */

import { errorText, type World } from "../base/mod.ts";
import { errorTypeName } from "../wire/mod.ts";
import { type SandboxEntry, sandboxEntry } from "../platform/mod.ts";
import type { Box, BoxOpener, BoxSpec } from "./box.ts";
import type { LinkEvents, SlotEnd } from "./link.ts";
import { TOKEN_VARIABLE } from "./slot_message.ts";
import { threadEntry, ThreadLink } from "./thread_link.ts";

/** Starts them right here. */
export class BoxHost implements BoxOpener {
  #world: World;
  #entry: URL;

  constructor(world: World, entry: URL = threadEntry()) {
    this.#world = world;
    this.#entry = entry;
  }

  open(spec: BoxSpec, events: LinkEvents): Box {
    let entry: SandboxEntry | null = null;
    const ended = (end: SlotEnd) => {
      entry?.release();
      entry = null;
      events.onEnded(end);
    };
    try {
      const made = entry = sandboxEntry(this.#entry, {
        modules: spec.modules,
        hostname: this.#world.host.hostname,
        maySignal: spec.maySignal,
        hidden: [TOKEN_VARIABLE],
      });
      const worker = new Worker(made.url, {
        type: "module",
        name: "sandbox",
        ...(spec.permissions === null ? {} : { deno: { permissions: { ...spec.permissions } } }),
      });
      return new ThreadLink(this.#world, worker, spec.first, {
        onBytes(bytes) {
          // It is up: its first module is not asked for again.
          entry?.release();
          entry = null;
          events.onBytes(bytes);
        },
        onEnded: ended,
      });
    } catch (error) {
      const lastWords = `${error instanceof Error ? errorTypeName(error) : "Error"}: ${errorText(error)}`;
      this.#world.clock.defer(() => ended({ code: 1, signal: null, lastWords }));
      return { send(): void {}, kill(): void {} };
    }
  }
}
