/** `lovage pool-child …`: the program that the process pool starts; not for users. */

import { runPoolChild } from "../pool/mod.ts";
import { command } from "./command.ts";

/** The command. */
export const poolChild = command({
  options: {},
  isRaw: true,
  run: ({ world, args }) => runPoolChild(world, [...args]),
});
