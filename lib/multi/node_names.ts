/**
 * Valid node names. They become file names, command lines and units, so characters that could break out of
 * those are refused.
 */

import { quoted, UsageError } from "../base/mod.ts";

/** The longest node name, in characters: with a suffix it is still a file name. */
const NAME_MAX = 200;

/** Checks a whole node name, such as "w1@host". Throws UsageError, in one line, for an invalid one. */
export function checkNodename(nodename: string): void {
  const at = nodename.indexOf("@");
  const name = nodename.slice(0, at);
  const host = nodename.slice(at + 1);
  const isFine = at > 0 && nodename.length <= NAME_MAX && isPart(name) && (host === "" || isPart(host));
  if (isFine) return;
  const shown = quoted(nodename.slice(0, 80));
  throw new UsageError(
    `Cannot use ${shown} as a node name: letters, digits and _ . : + - only, and no "." or "-" first`,
  );
}

function isPart(text: string): boolean {
  return /^[\p{L}\p{N}_:+][\p{L}\p{M}\p{N}_.:+-]*$/u.test(text) && !text.includes("..");
}
