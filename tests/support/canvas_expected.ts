/** Canvases of the matrix test whose result differs from Python Celery 5.2.6, or is random there; and why. */

import type { Observation } from "./canvas_cases.ts";

/** The error of a header's task that fails in this way. */
const ERRORS: Readonly<Record<string, (leaf: string) => unknown>> = {
  fails: (leaf) => ["builtins", "ValueError", ["boom", leaf]],
  unserialisable: () => ["kombu.exceptions", "EncodeError", ["<text>"]],
  givesUp: () => ["builtins", "KeyError", ["gave up"]],
  toBoom: (leaf) => ["builtins", "ValueError", ["boom", `${leaf}1`]],
  toFailingChain: (leaf) => ["builtins", "ValueError", ["boom", `${leaf}1`]],
};

/**
 * Returns results that count as equal to the reference where 5.2.6 is wrong: a chord's body that is a chain
 * has no id there, and failing it breaks the member that ended last; the result of a chord whose body is a
 * chord does not know the inner header, whose error is then reported as a ChordError.
 */
export function alternatives(name: string): readonly unknown[] {
  const [, kind, at] = /^chordToChain\+(\w+)@([01])$/.exec(name) ??
    /^chordInChain\+(\w+)@([12])$/.exec(name) ??
    /^(?:groupsInARow|chordToChord)\+(\w+)@([23])$/.exec(name) ?? [];
  const error = kind === undefined ? undefined : ERRORS[kind]?.(`s${at}`);
  return error === undefined ? [] : [error, NO_ID];
}

const NO_ID = ["builtins", "TypeError", ["sequence item 1: expected a bytes-like object, NoneType found"]];

/**
 * Whether the reference's result is random: newer Celery (CELERY_SRC) revokes a chord's body that is a group,
 * and it is a race whether a part of it is then revoked or fails; its errbacks are not called.
 */
export function isByChance(name: string): boolean {
  return Deno.env.get("CELERY_SRC") !== undefined &&
    /^chordToGroup\+(fails|givesUp|unserialisable|toBoom|toFailingChain)@/.test(name);
}

/** Returns an observation without the parts that may differ. */
export function normal(name: string, seen: Observation): Observation {
  let text = JSON.stringify(seen);
  // Each language has its own text for a value that it cannot encode.
  text = text.replace(/"EncodeError",\["(?:[^"\\]|\\.)*"\]/g, '"EncodeError",["<text>"]')
    .replace(/EncodeError\((?:[^"\\]|\\.)*"\]/g, 'EncodeError(<text>)"]');
  // In 5.2.6 a body that is not a single task has no id for its errbacks.
  text = text.replaceAll('err eb [\\"None\\"]', 'err eb [\\"id\\"]');
  // 5.2.6 gives a replaced task's index to all tasks of the header that replaces it, so their order is
  // random; the same holds for tasks added to a chord. Groups inside a header come in reverse order.
  const isShuffled = /toChord|toGroup|growing|chordOfGroups/.test(name);
  // In 5.2.6 a chain that replaces a task gets its callbacks twice.
  const isDoubled = /toChain|toFailingChain/.test(name);
  const made = JSON.parse(text, (_key, value) => {
    // A failed chord body has no request: its children are those of the header's last task, whichever that
    // was.
    if (value?.value?.[0] === "ChordError") return { ...value, children: [], name: null };
    if (isDoubled && value?.name && value.children.length > 0) {
      return { ...value, children: single(value.children) };
    }
    if (isShuffled && Array.isArray(value)) {
      return value.toSorted((a, b) => JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);
    }
    if (isShuffled && typeof value === "string" && value.includes("(")) return [...value].sort().join("");
    return value;
  }) as Observation;
  // Since 5.3 a chord's errback is also added to chords in its header, and called for each that fails.
  if (/^chordOfChords\+/.test(name) && made["runs"]) {
    made["runs"] = (made["runs"] as string[]).filter((run, n, all) =>
      !run.startsWith("err ") || all.indexOf(run) === n
    );
  }
  if (isDoubled && made["runs"]) made["runs"] = [...new Set(made["runs"] as string[])];
  if (isShuffled) (made["runs"] as string[]).sort();
  return made;
}

// In 5.2.6 the two runs of the callback are a group; here they are one task.
function single(children: unknown[]): unknown[] {
  const flat = children.flat(1) as { name?: string }[];
  return flat.every((one) => one.name === "c.mark") ? flat.slice(0, 1) : children;
}

/**
 * Whether an observation is as expected. What stays pending for ever in 5.2.6 may end here as an error and
 * call its errbacks. The tasks that ran, and every result that 5.2.6 stores, must be equal.
 */
export function agrees(got: unknown, wanted: Observation): boolean {
  if (typeof got !== "object" || got === null) return false;
  const seen = got as Observation;
  const isStalled = JSON.stringify(wanted).includes('"PENDING"');
  if (!isStalled) return same(seen, wanted);
  if (wanted["pending"] && !seen["pending"] && !seen["error"] && !isIgnored(seen)) return false;
  if (!wanted["pending"] && !(same(seen["value"], wanted["value"]) && same(seen["error"], wanted["error"]))) {
    return false;
  }
  const isNew = (run: string) => run.startsWith("err ") && !(wanted["runs"] as string[]).includes(run);
  const runs = (seen["runs"] as string[]).filter((run) => !isNew(run));
  return same(runs, wanted["runs"]) && same(seen["tree"], wanted["tree"]);
}

function isIgnored(seen: Observation): boolean {
  return JSON.stringify(seen["runs"]).includes("quiet ");
}

function same(got: unknown, wanted: unknown): boolean {
  if (got === wanted) return true;
  if (typeof wanted !== "object" || wanted === null || typeof got !== "object" || got === null) return false;
  if ((wanted as { state?: string }).state === "PENDING") {
    return ["PENDING", "FAILURE"].includes((got as { state?: string }).state ?? "");
  }
  const keys = Object.keys(wanted);
  if (keys.length !== Object.keys(got).length) return false;
  return keys.every((key) =>
    same((got as Record<string, unknown>)[key], (wanted as Record<string, unknown>)[key])
  );
}
