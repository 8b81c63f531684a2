/** `lovage pool-child …`: what the process pool starts; never typed by a person. */

import { runPoolChild } from "../pool/mod.ts";
import type { CommandModule } from "./command.ts";

/** The command. */
export const poolChild: CommandModule = {
  define(): void {},
  run: ({ world, argv }) => runPoolChild(world, [...argv]),
};
