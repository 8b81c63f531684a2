/** The audit log of actions taken or refused: each is logged, and the newest are kept for the API. */

import { shownLine, type World } from "../../base/mod.ts";
import type { Shape } from "../shapes.ts";

type Line = Shape<"AuditLine">;
const KEPT = 500;

/** Logs actions and keeps the newest 500. */
export class Audit {
  readonly #world: World;
  readonly #lines: Line[] = [];

  constructor(world: World) {
    this.#world = world;
  }

  /** Records and logs an action. */
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

  /** The kept actions, newest first. */
  get lines(): readonly Line[] {
    return [...this.#lines].reverse();
  }
}
