/** Starts sandboxes from this isolate, which lives as long as its process. */

import { errorText, type World } from "../../base/mod.ts";
import { errorTypeName } from "../../wire/mod.ts";
import { type SandboxEntry, sandboxEntry } from "../../platform/mod.ts";
import type { IsolateLink, IsolateOpener, IsolateSpec } from "../link/isolate.ts";
import type { LinkEvents, SlotEnd } from "../link/link.ts";
import { TOKEN_VARIABLE } from "../link/slot_message.ts";
import { threadEntry, ThreadLink } from "../link/thread.ts";

/** Starts sandboxes as Workers of this isolate. */
export class IsolateHost implements IsolateOpener {
  #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  open(spec: IsolateSpec, events: LinkEvents): IsolateLink {
    let entry: SandboxEntry | null = null;
    const ended = (end: SlotEnd) => {
      entry?.release();
      entry = null;
      events.onEnded(end);
    };
    try {
      const made = entry = sandboxEntry(threadEntry(), {
        modules: spec.modules,
        hostname: this.#world.host.hostname,
        mayDial: spec.mayDial,
        maySignal: spec.maySignal,
        mayImport: spec.mayImport,
        mayKeep: spec.mayKeep,
        hidden: [TOKEN_VARIABLE],
      });
      const worker = new Worker(made.url, {
        type: "module",
        name: "sandbox",
        ...(spec.permissions === null ? {} : { deno: { permissions: { ...spec.permissions } } }),
      });
      return new ThreadLink(this.#world, worker, { ...spec.first, env: made.env }, {
        onBytes(bytes) {
          // It is running: its entry module will not be requested again.
          entry?.release();
          entry = null;
          events.onBytes(bytes);
        },
        onEnded: ended,
      });
    } catch (error) {
      const lastOutput = `${error instanceof Error ? errorTypeName(error) : "Error"}: ${errorText(error)}`;
      this.#world.clock.defer(() => ended({ code: 1, signal: null, lastOutput }));
      return { send(): void {}, kill(): void {} };
    }
  }
}
