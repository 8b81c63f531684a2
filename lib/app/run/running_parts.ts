/** The functions that run tasks in this process, as one value. */

import { unlockChord } from "./chord_unlock.ts";
import { applyEagerly, eagerly } from "./eager.ts";

/** The functions that run tasks in this process. */
export interface RunningParts {
  readonly applyEagerly: typeof applyEagerly;
  readonly eagerly: typeof eagerly;
  readonly unlockChord: typeof unlockChord;
}

/** All of these functions. */
export const RUNNING_PARTS: RunningParts = { applyEagerly, eagerly, unlockChord };
