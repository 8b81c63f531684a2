/** The worker's operating errors. */

import { OperatingError } from "../base/mod.ts";

/** The broker cannot be reached, or refuses the connection, and the settings say to give up. */
export class BrokerGivenUp extends OperatingError {
  override name = "BrokerGivenUp";
}
