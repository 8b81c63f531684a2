/** The actions that were taken or refused: a line in the log each, and the newest for the page. */

import { shownLine, type World } from "../../base/mod.ts";
import type { Shape } from "../shapes.ts";

type Line = Shape<"AuditLine">;
const KEPT = 500;

/** Remembers actions. */
export class Audit {
  readonly #world: World;
  readonly #lines: Line[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  /** Writes an action down. */
  note(line: Omit<Line, "at">): void {
    this.#lines.push({ at: this.#world.clock.wallMs() / 1000, ...line });
    if (this.#lines.length > KEPT) this.#lines.shift();
    const { user, from, action, target, outcome } = line;
    const shown = [action, target, outcome].map((text) => shownLine(text, 300));
    this.#world.log.info(
      `audit user=${shownLine(user ?? "-", 100)} from=${from} action=${shown[0]} target=${shown[1]} outcome=${
        shown[2]
      }`,
    );
  }

  /** The newest first. */
  get lines(): readonly Line[] {
    return [...this.#lines].reverse();
  }
}
