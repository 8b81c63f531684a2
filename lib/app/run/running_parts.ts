/** What runs tasks in this process by itself, as one value. */

import { unlockChord } from "./chord_unlock.ts";
import { applyEagerly, eagerly } from "./eager.ts";

/** The functions. */
export interface RunningParts {
  readonly applyEagerly: typeof applyEagerly;
  readonly eagerly: typeof eagerly;
  readonly unlockChord: typeof unlockChord;
}

/** All of them. */
export const RUNNING_PARTS: RunningParts = { applyEagerly, eagerly, unlockChord };
