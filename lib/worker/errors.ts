/** The worker's operating errors. */

import { OperatingError } from "../base/mod.ts";

/** The broker could not be reached, or refused us, and the settings say to give up. */
export class BrokerGivenUp extends OperatingError {
  override name = "BrokerGivenUp";
}
