/**
 * The `yaml` serializer: YAML 1.1 as PyYAML's safe dump and load have it: block style, keys sorted, dates,
 * bytes and sets as themselves, no tags of a language, aliases bounded.
 *
 * PyYAML knows fewer plain forms than YAML 1.1 has ("y" is text to it, so are "1e3" and "09") and writes such
 * texts without quotes: reading follows it. What we write is quoted, so nobody has to guess.
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
import { plainTree, settleDecoded } from "./plain_tree.ts";

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
    // Every text is in double quotes, so an escape holds everywhere; readers disagree about U+0085.
    return text.replace(/[^\0-\x7e]/gu, escapeChar);
  },
  decode(body: Uint8Array | string): unknown {
    const text = typeof body === "string" ? body : new TextDecoder("utf-8", { fatal: true }).decode(body);
    const document = parseDocument(text, {
      version: "1.1",
      customTags: pythonTags,
      intAsBigInt: true,
      logLevel: "silent",
      // The library compares each key with all before it; PyYAML takes the last of equal ones, as an object does.
      uniqueKeys: false,
      prettyErrors: false,
    });
    const problem = document.errors[0] ?? document.warnings[0];
    if (problem) {
      throw new DecodeError(`Cannot decode yaml: ${problem.message.split("\n", 1)[0]!.slice(0, 200)}`);
    }
    refuseSlow(document);
    // What aliases may make is bounded by what they make (settleDecoded); the library counts them whatever they name.
    return settleDecoded(document.toJS({ maxAliasCount: -1 }));
  },
};

/** The library looks through a document for what an alias names: so many values are looked at for all of them. */
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

/** Plain forms as PyYAML resolves them, by the format of the library's own tag. */
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

/** For writing, "<<" is a text like any other. */
function writingTags(tags: Tags): Tags {
  return pythonTags(tags).filter((tag) => typeof tag === "string" || tag.tag !== "tag:yaml.org,2002:merge");
}

/** A number in a form that PyYAML takes for one: an exponent needs a point before it and a sign after. */
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
