/** Makes the functions that run tasks available from the start. */

import { running } from "./running.ts";
import { RUNNING_PARTS } from "./running_parts.ts";

running.parts = RUNNING_PARTS;
