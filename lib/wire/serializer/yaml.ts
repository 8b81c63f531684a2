/**
 * The `yaml` serializer: YAML 1.1 as in PyYAML's safe dump and load: block style, sorted keys, dates, bytes
 * and sets as such, no language-specific tags, bounded aliases.
 *
 * PyYAML reads fewer plain forms than YAML 1.1 defines ("y", "1e3" and "09" are texts to it) and writes such
 * texts without quotes, so we read them in the same way. We write all texts in quotes, so that no reader has
 * to guess.
 *
 * Source: kombu 5.6.2 serialization.py register_yaml (safe_dump, safe_load); PyYAML 6.0 resolver.py (plain
 * forms).
 */

import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  parseDocument,
  type ScalarTag,
  stringify,
  type Tags,
  visit,
} from "yaml";
import { DecodeError } from "../errors.ts";
import type { Codec } from "./codec.ts";
import { normalizeDecoded, plainTree } from "./plain_tree.ts";

/** yaml, loaded by `loadSerializer`. */
export const YAML: Codec = {
  name: "yaml",
  contentType: "application/x-yaml",
  contentEncoding: "utf-8",
  encode(value: unknown): string {
    const tree = plainTree(value, {
      format: "yaml",
      dates: true,
      sets: true,
      surrogates: true,
      bigintBits: 0,
    });
    const text = stringify(tree, {
      version: "1.1",
      customTags: writingTags,
      sortMapEntries: byKeyText,
      aliasDuplicateObjects: false,
      defaultStringType: "QUOTE_DOUBLE",
      lineWidth: 0,
    });
    // Every text is in double quotes, so escapes work everywhere. Escaped because readers disagree about
    // U+0085.
    return text.replace(/[^\0-\x7e]/gu, escapeChar);
  },
  decode(body: Uint8Array | string): unknown {
    const text = typeof body === "string" ? body : new TextDecoder("utf-8", { fatal: true }).decode(body);
    const document = parseDocument(text, {
      version: "1.1",
      customTags: pythonTags,
      intAsBigInt: true,
      logLevel: "silent",
      // The check would compare each key with all earlier ones. PyYAML takes the last of equal keys, as an
      // object does.
      uniqueKeys: false,
      prettyErrors: false,
    });
    const problem = document.errors[0] ?? document.warnings[0];
    if (problem) {
      throw new DecodeError(`Cannot decode yaml: ${problem.message.split("\n", 1)[0]!.slice(0, 200)}`);
    }
    refuseSlow(document);
    // normalizeDecoded limits the number of values that aliases produce; the library would only count the
    // aliases.
    return normalizeDecoded(document.toJS({ maxAliasCount: -1 }));
  },
};

/**
 * The library searches the document for the target of each alias. This is the maximum of nodes times aliases.
 */
const LOOKS_MAX = 20_000_000;

function refuseSlow(document: Document.Parsed): void {
  let nodes = 0;
  let aliases = 0;
  visit(document, {
    Node(_key, node) {
      nodes++;
      if (isAlias(node)) aliases++;
    },
  });
  if (nodes * aliases > LOOKS_MAX) {
    throw new DecodeError(`Cannot decode yaml: ${aliases} aliases are too many`);
  }
}

/** The plain forms that PyYAML resolves, which replace those of the library's tags. */
const TRUE_FORM = /^(?:yes|Yes|YES|true|True|TRUE|on|On|ON)$/;
const FALSE_FORM = /^(?:no|No|NO|false|False|FALSE|off|Off|OFF)$/;
const DECIMAL_FORM = /^[-+]?(?:0|[1-9][0-9_]*)$/;
const EXPONENT_FORM = /^(?:[-+]?[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)[eE][-+][0-9]+$/;
const FLOAT_FORM = /^(?:[-+]?[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)$/;

function pythonTags(tags: Tags): Tags {
  return tags.map((tag) => {
    if (typeof tag === "string" || !("test" in tag) || !tag.test) return tag;
    const own: ScalarTag = { ...tag };
    if (tag.tag === "tag:yaml.org,2002:bool") own.test = tag.test.test("true") ? TRUE_FORM : FALSE_FORM;
    else if (tag.tag === "tag:yaml.org,2002:int") {
      if (tag.format === undefined) own.test = DECIMAL_FORM;
      own.stringify = ({ value }) => numberText(value);
    } else if (tag.tag === "tag:yaml.org,2002:float") {
      if (tag.format === "EXP") own.test = EXPONENT_FORM;
      else if (tag.test.test("1.5")) own.test = FLOAT_FORM;
      own.stringify = ({ value }) => numberText(value);
    }
    return own;
  });
}

/** Returns the tags for writing, where "<<" is an ordinary text. */
function writingTags(tags: Tags): Tags {
  return pythonTags(tags).filter((tag) => typeof tag === "string" || tag.tag !== "tag:yaml.org,2002:merge");
}

/**
 * Writes a number in a form that PyYAML reads as one: an exponent needs a point before it and a sign after
 * it.
 */
function numberText(value: unknown): string {
  if (typeof value === "bigint") return value.toString();
  const number = Number(value);
  if (Number.isNaN(number)) return ".nan";
  if (!Number.isFinite(number)) return number > 0 ? ".inf" : "-.inf";
  if (number === 0) return Object.is(number, -0) ? "-0.0" : "0";
  return String(number).replace(/^(-?\d+)e/, "$1.0e");
}

function escapeChar(char: string): string {
  const code = char.codePointAt(0)!;
  const [mark, digits] = code <= 0xff
    ? ["x", 2] as const
    : code <= 0xffff
    ? ["u", 4] as const
    : ["U", 8] as const;
  return `\\${mark}${code.toString(16).padStart(digits, "0")}`;
}

function byKeyText(a: { key: unknown }, b: { key: unknown }): number {
  const left = keyText(a.key);
  const right = keyText(b.key);
  return left < right ? -1 : left > right ? 1 : 0;
}

function keyText(key: unknown): string {
  if (isScalar(key)) return String(key.value);
  return isMap(key) ? "{" : String(key);
}
