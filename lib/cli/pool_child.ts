/** `lovage pool-child …`: what the process pool starts; never typed by a person. */

import { runPoolChild } from "../pool/mod.ts";
import { command } from "./command.ts";

/** The command. */
export const poolChild = command({
  options: {},
  isRaw: true,
  run: ({ world, args }) => runPoolChild(world, [...args]),
});
