/** The version of this program. */

import config from "../../deno.json" with { type: "json" };

/** As in deno.json: "MAJOR.MINOR.PATCH". */
export const VERSION: string = config.version;
