/** The version of this program. */

import config from "../../deno.json" with { type: "json" };

/** The version as in deno.json: "MAJOR.MINOR.PATCH". */
export const VERSION: string = config.version;
