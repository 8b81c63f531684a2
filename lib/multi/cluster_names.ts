/**
 * Makes nodes from the words of a command line: ranges, prefixes, hosts, and options of single nodes.
 *
 * Source: celery 5.2.6 apps/multi.py MultiParser (behaviour, vectors multi-*).
 */

import { UsageError } from "../base/mod.ts";
import { mergeOptions, type Remembered } from "./memory.ts";
import { absoluteFormat, Node } from "./node.ts";
import type { MultiWords, NodeOptions } from "./options.ts";

/** More nodes than this are a typing mistake. */
const NODES_MAX = 10_000;

/** What applies if the words do not say it. */
export interface FleetDefaults {
  readonly hostname: string;
  readonly pidfile: string;
  readonly logfile: string;
  /** The folder in which the nodes are started. */
  readonly folder: string;
  /**
   * Returns how a node was started before; those options apply where none are given now. `isHostGiven`: the
   * words name the host, so only the exact name matches. `pidfile`: the one given now, not expanded.
   */
  readonly recall?: (
    name: string,
    given: { isHostGiven: boolean; pidfile: string | null },
  ) => Remembered | null;
}

/**
 * Makes the nodes. One number N means `celery1` to `celeryN` (`--range-prefix`). Other names are used as they
 * are, with the host of `-n`/`--hostname`, `--suffix` or the machine. Throws UsageError if a node's options
 * name no node.
 */
export function nodesOf(words: MultiWords, defaults: FleetDefaults): Node[] {
  const options: NodeOptions = new Map(words.options);
  const take = (...names: string[]): string | null => {
    let taken: string | null = null;
    for (const name of names) {
      taken = options.get(name) || taken;
      options.delete(name);
    }
    return taken;
  };
  const isHostGiven = ["-n", "--hostname", "--suffix", "--prefix"].some((one) => options.has(one));
  const cmd = take("--cmd");
  const append = take("--append");
  const hostname = take("-n", "--hostname") ?? defaults.hostname;
  let prefix = take("--prefix") ?? "";
  const suffix = take("--suffix") ?? hostname;
  const host = suffix === '""' || suffix === "''" ? "" : suffix;
  const rangePrefix = take("--range-prefix") ?? "celery";
  let names = words.names;
  const isRange = names.length === 1 && /^\d+$/.test(names[0]!);
  if (isRange) {
    const count = Number(names[0]);
    if (count > NODES_MAX) {
      throw new UsageError(`Cannot start ${count} nodes: at most ${NODES_MAX} are allowed`);
    }
    names = Array.from({ length: count }, (_, n) => String(n + 1));
    prefix = rangePrefix;
  }
  const perNode = spread(words.perNode, names, words.names.length === 1);
  return names.map((name) => {
    const at = name.indexOf("@");
    const short = at < 0 ? prefix + name : name.slice(0, at);
    const nodename = expandHost(short, at < 0 ? host : name.slice(at + 1), defaults.hostname);
    const theirs = perNode.get(nodename) ?? perNode.get(at < 0 ? name : short);
    const given: NodeOptions = new Map([...options, ...theirs ?? []]);
    const pidfile = given.get("--pidfile") ?? given.get("-p") ?? null;
    const before = defaults.recall?.(nodename, { isHostGiven: isHostGiven || at >= 0, pidfile }) ?? null;
    if (before) return recalled(before, given, { words, cmd, append, defaults });
    const { passThrough } = words;
    const { folder } = defaults;
    return new Node({ name: nodename, options: given, passThrough, cmd, append, defaults, folder });
  });
}

/** Makes a node as it was started before, with the options given now on top. */
function recalled(
  before: Remembered,
  given: NodeOptions,
  now: { words: MultiWords; cmd: string | null; append: string | null; defaults: FleetDefaults },
): Node {
  const { words, cmd, append, defaults } = now;
  // A module or folder given now is relative to the present folder; everything else to the folder of the
  // earlier start.
  const isHere = ["-A", "--app", "--config", "--workdir"].some((one) => given.has(one));
  const folder = isHere ? defaults.folder : before.folder;
  const options = new Map(given);
  for (const file of ["--pidfile", "-p", "--logfile", "-f"]) {
    const path = options.get(file);
    if (path) options.set(file, absoluteFormat(path, defaults.folder));
  }
  return new Node({
    name: before.name,
    options: mergeOptions(before.options, options),
    passThrough: words.passThrough.length > 0 ? words.passThrough : before.passThrough,
    cmd: cmd ?? before.cmd,
    append: append ?? before.append,
    defaults,
    folder,
  });
}

/**
 * Returns the whole name; `%h`, `%n` and `%d` in it are the machine's. Any other percent sign stays, and is
 * refused later.
 */
function expandHost(short: string, host: string, hostname: string): string {
  const dot = hostname.indexOf(".");
  const parts: Record<string, string> = {
    h: hostname,
    n: dot < 0 ? hostname : hostname.slice(0, dot),
    d: dot < 0 ? "" : hostname.slice(dot + 1),
  };
  return `${short}@${host}`.replace(/%([hnd])/g, (_, letter: string) => parts[letter]!);
}

/**
 * Distributes `-c:2`, `-c:1-3` and `-c:1,2` to their nodes. A single number is an index into the names.
 * Numbers in lists and ranges are names, which only numbered fleets have. Lists and ranges override single
 * nodes, whatever their order. Source: celery 5.2.6 apps/multi.py MultiParser._update_ns_opts,
 * _update_ns_ranges.
 */
function spread(
  given: ReadonlyMap<string, NodeOptions>,
  names: readonly string[],
  hasRanges: boolean,
): Map<string, NodeOptions> {
  const perNode = new Map([...given].map(([who, options]) => [who, new Map(options)]));
  const add = (name: string, options: NodeOptions) => {
    const theirs = perNode.get(name) ?? new Map();
    for (const [option, value] of options) theirs.set(option, value);
    perNode.set(name, theirs);
  };
  for (const [who, options] of [...perNode]) {
    if (!/^\d+$/.test(who)) continue;
    const name = names[Number(who) - 1];
    if (name === undefined) {
      throw new UsageError(`No node has index ${who}: indexes are 1 to ${names.length}`);
    }
    add(name, options);
  }
  for (const [who, options] of [...perNode]) {
    if (!who.includes(",") && !(hasRanges && who.includes("-"))) continue;
    perNode.delete(who);
    for (const part of who.split(",")) {
      const range = hasRanges ? /^(\d+)-(\d+)$/.exec(part) : null;
      if (!range) add(part, options);
      for (let n = Number(range?.[1]); n <= Math.min(Number(range?.[2]), names.length); n++) {
        add(String(n), options);
      }
    }
  }
  return perNode;
}
