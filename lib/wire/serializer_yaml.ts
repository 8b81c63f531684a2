/**
 * The `yaml` serializer: YAML 1.1 as PyYAML's safe dump and load have it: block style, keys sorted, dates, bytes and
 * sets as themselves, no tags of a language, aliases bounded.
 *
 * Source: kombu 5.6.2 serialization.py register_yaml (safe_dump, safe_load).
 */

import { parseDocument, stringify } from "yaml";
import { DecodeError } from "./errors.ts";
import type { Codec } from "./serializer.ts";
import { plainTree, settleIntegers } from "./plain_tree.ts";

/** yaml, loaded by `loadSerializer`. */
export const YAML: Codec = {
  name: "yaml",
  contentType: "application/x-yaml",
  contentEncoding: "utf-8",
  encode(value: unknown): string {
    const tree = plainTree(value, { format: "yaml", dates: true, sets: true, bigintBits: 0 });
    return stringify(tree, {
      version: "1.1",
      sortMapEntries: true,
      aliasDuplicateObjects: false,
      lineWidth: 0,
    });
  },
  decode(body: Uint8Array | string): unknown {
    const text = typeof body === "string" ? body : new TextDecoder("utf-8", { fatal: true }).decode(body);
    const document = parseDocument(text, { version: "1.1", intAsBigInt: true, logLevel: "silent" });
    const problem = document.errors[0] ?? document.warnings[0];
    if (problem) throw new DecodeError(`Cannot decode yaml: ${problem.message.split("\n", 1)[0]}`);
    return settleIntegers(document.toJS({ maxAliasCount: 100 }));
  },
};
