/**
 * The canvases of the matrix test as plain data, and how TypeScript builds, sends and observes them;
 * canvas_client.py does the same in Python.
 */

import {
  type App,
  AsyncResult,
  chain,
  chord,
  group,
  type GroupResult,
  type Signature,
  TimeoutError,
} from "lovage";

/** A canvas as data. */
export interface Node {
  readonly task?: string;
  readonly label?: string;
  readonly first?: readonly unknown[];
  readonly immutable?: boolean;
  readonly chain?: readonly Node[];
  readonly group?: readonly Node[];
  readonly pipe?: readonly Node[];
  readonly chord?: readonly Node[];
  readonly body?: Node;
  /** Labels of callbacks, of errbacks that get an id, and of errbacks that get request, error and traceback. */
  readonly cb?: readonly string[];
  readonly eb?: readonly string[];
  readonly eb3?: readonly string[];
}

/** The observed result of a case: a value or an error, the tree of results, and which tasks ran. */
export type Observation = Record<string, unknown>;

type Leaf = () => Node;
type Shape = (leaf: Leaf) => Node;

/** The shapes; each calls `leaf` for every task in it, in order. */
const SHAPES: Readonly<Record<string, Shape>> = {
  task: (t) => t(),
  chain: (t) => ({ chain: [t(), t(), t()] }),
  group: (t) => ({ group: [t(), t(), t()] }),
  chord: (t) => ({ chord: [t(), t(), t()], body: t() }),
  chordOfOne: (t) => ({ chord: [t()], body: t() }),
  groupThenTask: (t) => ({ chain: [t(), { group: [t(), t()] }, t()] }),
  groupAtEnd: (t) => ({ chain: [t(), t(), { group: [t(), t()] }] }),
  groupsInARow: (t) => ({ chain: [{ group: [t(), t()] }, { group: [t(), t()] }, t()] }),
  groupOfChains: (t) => ({ group: [{ chain: [t(), t()] }, { chain: [t(), t()] }] }),
  groupOfGroups: (t) => ({ group: [t(), { group: [t(), t()] }] }),
  groupOfChords: (t) => ({ group: [{ chord: [t(), t()], body: t() }, t()] }),
  chordOfChains: (t) => ({ chord: [{ chain: [t(), t()] }, { chain: [t(), t()] }], body: t() }),
  chordOfGroups: (t) => ({ chord: [{ group: [t(), t()] }, t()], body: t() }),
  chordOfChords: (t) => ({ chord: [{ chord: [t(), t()], body: t() }, t()], body: t() }),
  chordToChain: (t) => ({ chord: [t(), t()], body: { chain: [t(), t()] } }),
  chordToGroup: (t) => ({ chord: [t(), t()], body: { group: [t(), t()] } }),
  chordToChord: (t) => ({ chord: [t(), t()], body: { chord: [t(), t()], body: t() } }),
  chordInChain: (t) => ({ chain: [t(), { chord: [t(), t()], body: t() }, t()] }),
  chainsInChain: (t) => ({ chain: [t(), { chain: [t(), t()] }, t()] }),
  chordOfUpgrade: (t) => ({
    chord: [{ chain: [t(), { group: [t(), t()] }, t()] }, t()],
    body: t(),
  }),
};

/** Kinds of tasks that replace a plain step of a shape; at every place, or only at the first and last. */
const KINDS: Readonly<Record<string, { task: string; first?: readonly unknown[]; isEverywhere?: true }>> = {
  fails: { task: "boom", isEverywhere: true },
  retries: { task: "flaky" },
  givesUp: { task: "giveup" },
  ignored: { task: "quiet" },
  unserialisable: { task: "odd" },
  toTask: { task: "swap", first: ["task"] },
  toChain: { task: "swap", first: ["chain"], isEverywhere: true },
  toGroup: { task: "swap", first: ["group"], isEverywhere: true },
  toChord: { task: "swap", first: ["chord"] },
  toSwap: { task: "swap", first: ["swap"] },
  toBoom: { task: "swap", first: ["boom"] },
  toFailingChain: { task: "swap", first: ["chainboom"] },
};

/**
 * Returns all cases by name: every shape plain, and with each kind at each place; each with a callback and an
 * errback.
 */
export function canvasCases(): Record<string, Node> {
  const cases: Record<string, Node> = {};
  for (const [name, shape] of Object.entries(SHAPES)) {
    let size = 0;
    const plain = shape(() => ({ task: "step", label: `s${size++}` }));
    cases[name] = plain;
    cases[`${name}+links`] = linked(plain, name);
    for (const [kind, { isEverywhere, ...what }] of Object.entries(KINDS)) {
      for (let at = 0; at < size; at++) {
        if (!isEverywhere && at > 0 && at < size - 1) continue;
        let n = 0;
        const node = shape(() => {
          const label = `s${n}`;
          return n++ === at ? { ...what, label } : { task: "step", label };
        });
        cases[`${name}+${kind}@${at}`] = linked(node, name);
      }
    }
  }
  return { ...cases, ...OTHERS };
}

const OTHERS: Readonly<Record<string, Node>> = {
  twoCallbacks: { task: "step", label: "s0", cb: ["c1", "c2", "c3"] },
  twoErrbacks: { task: "boom", label: "s0", eb: ["e1", "e2"] },
  newErrback: { task: "boom", label: "s0", eb3: ["e1"] },
  bothErrbacks: { task: "boom", label: "s0", eb: ["e1"], eb3: ["e2"] },
  newErrbackOfChord: {
    chord: [{ task: "step", label: "s0" }, { task: "boom", label: "s1" }],
    body: { task: "step", label: "s2" },
    eb3: ["e1"],
  },
  newErrbackOfChain: {
    chain: [{ task: "step", label: "s0" }, { task: "boom", label: "s1" }, { task: "step", label: "s2" }],
    eb3: ["e1"],
  },
  immutable: {
    chain: [{ task: "step", label: "s0" }, { task: "step", label: "s1", immutable: true }, {
      task: "step",
      label: "s2",
    }],
  },
  immutableBody: {
    chord: [{ task: "step", label: "s0" }],
    body: { task: "step", label: "s1", immutable: true },
  },
  emptyChord: { chord: [], body: { task: "step", label: "s0" } },
  emptyGroup: { group: [] },
  groupOfOneInChain: {
    chain: [{ task: "step", label: "s0" }, { group: [{ task: "step", label: "s1" }] }, {
      task: "step",
      label: "s2",
    }],
  },
  pipedGroups: {
    pipe: [
      { group: [{ task: "step", label: "s0" }, { task: "step", label: "s1" }] },
      { task: "step", label: "s2" },
      { task: "step", label: "s3" },
      { group: [{ task: "step", label: "s4" }, { task: "step", label: "s5" }] },
    ],
  },
  pipedChords: {
    pipe: [
      { task: "step", label: "s0" },
      {
        chord: [{ task: "step", label: "s1" }, { task: "step", label: "s2" }],
        body: { task: "step", label: "s3" },
      },
      {
        chord: [{ task: "step", label: "s4" }, { task: "step", label: "s5" }],
        body: { task: "step", label: "s6" },
      },
    ],
  },
  growing: {
    chord: [{ task: "grow", label: "s0" }, { task: "step", label: "s1" }],
    body: { task: "step", label: "s2" },
  },
  fiveDeep: deep(5),
  fiveDeepFailing: deep(5, "boom"),
  partsWithLinks: {
    chord: [
      { task: "step", label: "s0", cb: ["c0"] },
      { task: "boom", label: "s1", eb: ["e1"] },
      { chain: [{ task: "step", label: "s2" }, { task: "boom", label: "s3" }], eb: ["e3"] },
    ],
    body: { task: "step", label: "s4", eb: ["e4"], cb: ["c4"] },
  },
};

function deep(levels: number, last = "step"): Node {
  let n = 0;
  const make = (level: number): Node =>
    level === 0 ? { task: last, label: `s${n++}` } : {
      chord: [{ task: "step", label: `s${n++}` }, make(level - 1)],
      body: { task: "step", label: `s${n++}` },
    };
  return make(levels);
}

// 5.2.6 adds the callback of a chain that ends in a chord to the header too, where it is refused; a body that
// is a group takes no callback.
const WITHOUT_CALLBACK = ["chordToGroup", "groupThenTask", "chordInChain"];

function linked(node: Node, shape: string): Node {
  return WITHOUT_CALLBACK.includes(shape) ? { ...node, eb: ["eb"] } : { ...node, cb: ["cb"], eb: ["eb"] };
}

/** Builds a canvas; its tasks are distributed over the queues in turn. */
export function buildCanvas(app: App, name: string, node: Node, queues: readonly string[]): Signature {
  let leaf = 0;
  const build = (node: Node): Signature => {
    let made: Signature;
    if (node.task) {
      made = app.signature(`c.${node.task}`, {
        args: [...node.first ?? [], `${name}/${node.label}`],
        queue: queues[leaf++ % queues.length]!,
        immutable: node.immutable ?? false,
      });
    } else if (node.chain) made = chain(node.chain.map(build));
    else if (node.group) made = group(node.group.map(build));
    else if (node.pipe) {
      const [first, ...rest] = node.pipe.map(build);
      made = first!.pipe(...rest);
    } else {
      const header = node.chord!.map(build);
      made = chord(header, build(node.body!));
    }
    const queue = queues[0]!;
    for (const label of node.cb ?? []) {
      made.link(app.signature("c.mark", { args: [`${name}/${label}`], queue }));
    }
    for (const label of node.eb ?? []) {
      made.linkError(app.signature("c.err", { kwargs: { label: `${name}/${label}` }, queue }));
    }
    for (const label of node.eb3 ?? []) {
      made.linkError(app.signature("c.err3", { kwargs: { label: `${name}/${label}` }, queue }));
    }
    return made;
  };
  return build(node);
}

type AnyResult = AsyncResult | GroupResult;

/** Observes a result; called once no task runs any more. */
export async function observe(app: App, result: AnyResult): Promise<Observation> {
  const seen: Observation = {};
  try {
    // All tasks have ended, but hundreds of results are requested at once.
    seen["value"] = await result.get({ timeout: 10 });
  } catch (error) {
    if (error instanceof TimeoutError) seen["pending"] = true;
    else seen["error"] = errorShown(error as Error);
  }
  let top = result;
  while (top.parent) top = top.parent as AnyResult;
  const walked = new Set<string>();
  seen["tree"] = [await tree(app, top, walked), await tree(app, result, walked)];
  return seen;
}

async function tree(app: App, result: AnyResult, walked: Set<string>): Promise<unknown> {
  if (!(result instanceof AsyncResult)) {
    const all: unknown[] = [];
    for (const one of result.results) all.push(await tree(app, one, walked));
    return all;
  }
  if (walked.has(result.id)) return "again";
  walked.add(result.id);
  const meta = await app.backend.getTaskMeta(result.id);
  const children: unknown[] = [];
  for (const child of await app.AsyncResult(result.id).children() ?? []) {
    children.push(await tree(app, child as AnyResult, walked));
  }
  const info = await app.AsyncResult(result.id).info();
  const shown = info instanceof Error ? errorShown(info).slice(1) : info;
  return { name: meta?.name ?? null, state: meta?.state ?? "PENDING", value: shown, children };
}

function errorShown(error: Error): [string, string, string[]] {
  const remote = error as Error & { module?: string | null; args?: unknown[] };
  const name = error.name === "Error" ? error.constructor.name : error.name;
  const args = remote.args ?? (error.message === "" ? [] : [error.message]);
  return [remote.module ?? "builtins", name, args.map((one) => typeof one === "string" ? one : String(one))];
}
