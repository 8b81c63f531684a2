/**
 * `lovage multi`: manages a fleet of nodes from the shell, with Celery's grammar and output.
 *
 * Source: celery 5.2.6 bin/multi.py MultiTool (grammar, lines; vectors multi-*). In addition: correct exit
 * statuses, JSON, and options remembered for restart and stop.
 */

import { longName, maskUrls, nearest, type SignalName, UsageError, VERSION } from "../base/mod.ts";
import {
  Cluster,
  type ClusterEvents,
  isSignalWord,
  type Node,
  type NodeOutcome,
  programWords,
  readWords,
  signalOf,
} from "../multi/mod.ts";
import { EXIT, exitOfSignal, listenSignals, type RealWorld } from "../platform/mod.ts";
import {
  command,
  type CommandContext,
  GLOBAL_OPTIONS,
  type Option,
  type Options,
  type ValuesOf,
} from "./command.ts";
import { MULTI_HELP, multiUsage } from "./multi_help.ts";
import { jsonLine, shellLine } from "./output.ts";

/** The options of `multi` itself; the first occurrence of each is removed from the words. */
const OPTIONS = {
  nosplash: { help: "Don't display program info." },
  quiet: { short: "-q", help: "Don't show as much output." },
  verbose: { help: "Show more output." },
  noColor: { help: "Don't display colors." },
  json: { short: "-j", help: "Print JSON (all but systemd and help)." },
} as const satisfies Options;

/** The values of these options. */
type Manner = ValuesOf<typeof OPTIONS>;

/** The input of a subcommand. */
interface Call {
  readonly tool: MultiTool;
  readonly words: readonly string[];
}

const SUBCOMMANDS: Readonly<Record<string, (call: Call) => Promise<number> | number>> = {
  start: ({ tool, words }) =>
    tool.act(words, { recalls: false }, "> Starting nodes...", (fleet) => fleet.start()),
  stop: ({ tool, words }) => tool.act(words, { recalls: true }, null, (fleet, signal) => fleet.stop(signal)),
  stopwait: ({ tool, words }) =>
    tool.act(words, { recalls: true }, null, (fleet, sig) => fleet.stopwait(sig)),
  stop_verify: ({ tool, words }) =>
    tool.act(words, { recalls: true }, null, (fleet, sig) => fleet.stopwait(sig)),
  restart: ({ tool, words }) =>
    tool.act(words, { recalls: true }, null, (fleet, signal) => fleet.restart(signal)),
  kill: ({ tool, words }) => tool.act(words, { recalls: true }, null, (fleet) => fleet.kill()),
  names: ({ tool, words }) => tool.names(words),
  show: ({ tool, words }) => tool.show(words),
  get: ({ tool, words }) => tool.get(words),
  expand: ({ tool, words }) => tool.expand(words),
  systemd: async ({ tool, words }) => (await import("./multi_systemd.ts")).systemd(tool.world, words),
  help: ({ tool }) => tool.say(MULTI_HELP),
};

/** The command. */
export const multi = command({
  usage: "<command> <node...|count> [options of the worker]",
  arguments: [
    { name: "command", help: "what to do with the nodes", words: Object.keys(SUBCOMMANDS), isRequired: true },
    { name: "nodes", help: "their names, or their number", isRest: true },
  ],
  options: OPTIONS,
  text: MULTI_HELP,
  isRaw: true,

  async run({ world, globals, args }): Promise<number> {
    const manner: Manner = { quiet: globals.quiet ?? false, noColor: globals.noColor ?? false };
    const words = [...args, ...globalWords(globals)];
    for (const [key, { short }] of Object.entries<Option>(OPTIONS)) {
      for (const spelling of [longName(key), short]) {
        const end = words.indexOf("--");
        const at = spelling === undefined ? -1 : words.indexOf(spelling);
        if (at < 0 || (end >= 0 && at > end)) continue;
        words.splice(at, 1);
        manner[key as keyof Manner] = true;
      }
    }
    const tool = new MultiTool(world, manner);
    const [name, ...rest] = words;
    if (name === "--help" || name === "-h") return tool.usage(EXIT.OK);
    if (name === undefined || name.startsWith("-")) return tool.usage(EXIT.USAGE);
    const subcommand = Object.hasOwn(SUBCOMMANDS, name) ? SUBCOMMANDS[name] : undefined;
    if (!subcommand) {
      const near = nearest(name, Object.keys(SUBCOMMANDS));
      world.terminal.err(`Invalid command: ${name}${near ? `: did you mean "${near}"?` : ""}\n`);
      return tool.usage(EXIT.USAGE);
    }
    const bare = await optionWithoutValue(rest);
    if (bare !== null) {
      const text = `Missing value: in multi, write ${bare}=VALUE`;
      // An error here, because units are permanent and usually root's.
      if (name === "systemd") throw new UsageError(text);
      world.terminal.err(`Warning: ${text}\n`);
    }
    return await subcommand({ tool, words: rest });
  },
});

/** Options with a value that belong to `multi` and not to the worker. */
const OWN_VALUES: ReadonlySet<string> = new Set(
  ["--cmd", "--append", "--prefix", "--suffix", "--range-prefix", "--executable", "--ready-timeout"],
);

/**
 * Returns the first option that needs a value and has none; null if there is none. In Celery's grammar long
 * options take values only after "=", so the "app" of `--uid app` is the name of a node.
 */
export async function optionWithoutValue(words: readonly string[]): Promise<string | null> {
  const { options, perNode } = readWords(words);
  const bare = [options, ...perNode.values()].flatMap((given) => [...given])
    .filter(([name, value]) => name.startsWith("--") && value === null).map(([name]) => name);
  if (bare.length === 0) return null;
  const ofWorker: Options = { ...GLOBAL_OPTIONS, ...(await import("./worker.ts")).worker.options };
  const valued = new Set(
    Object.entries(ofWorker).filter(([, { value }]) => value !== undefined)
      .flatMap(([key, { aliases = [] }]) => [longName(key), ...aliases]),
  );
  return bare.find((one) => valued.has(one) || OWN_VALUES.has(one)) ?? null;
}

/** Global options before `multi` are passed to the nodes. Source: celery 5.2.6 bin/multi.py multi. */
function globalWords(globals: CommandContext["globals"]): string[] {
  const { app, broker, resultBackend, config, logFormat } = globals;
  return [
    ...app === undefined ? [] : [`--app=${app}`],
    ...broker === undefined ? [] : [`--broker=${broker}`],
    ...resultBackend === undefined ? [] : [`--result-backend=${resultBackend}`],
    ...config === undefined ? [] : [`--config=${config}`],
    ...logFormat === undefined ? [] : [`--log-format=${logFormat}`],
  ];
}

class MultiTool {
  readonly world: RealWorld;
  readonly #manner: Manner;
  readonly #isColoured: boolean;

  constructor(world: RealWorld, manner: Manner) {
    this.world = world;
    this.#manner = manner;
    this.#isColoured = !manner.noColor && world.terminal.outIsTty && !world.host.env("NO_COLOR");
  }

  /** Prints a text and returns EXIT.OK. */
  say(text: string): number {
    this.world.terminal.out(text);
    return EXIT.OK;
  }

  usage(exit: number): number {
    this.#splash();
    this.say(`${multiUsage(OPTIONS)}\n`);
    return exit;
  }

  names(words: readonly string[]): number {
    const names = Cluster.parse(words, { world: this.world }).nodes.map((node) => node.name);
    return this.say(this.#manner.json ? jsonLine(names) : `${names.join("\n")}\n`);
  }

  show(words: readonly string[]): number {
    const { nodes } = Cluster.parse(words, { world: this.world });
    if (this.#manner.json) {
      return this.say(jsonLine(nodes.map((node) => ({
        name: node.name,
        pidfile: node.pidfilePath,
        logfile: node.logfilePath,
        command: commandOf(node),
      }))));
    }
    return this.say(nodes.map((node) => `${shellLine(commandOf(node))}\n`).join(""));
  }

  get([wanted, ...words]: readonly string[]): number {
    const node = Cluster.parse(words, { world: this.world }).find(wanted ?? "");
    if (node === null) {
      // As in Celery, standard output stays empty, since scripts read it.
      this.world.terminal.err(`Error: No node "${wanted ?? ""}": multi names lists them\n`);
      return EXIT.FAILURE;
    }
    return this.say(this.#manner.json ? jsonLine(node.argv()) : `${shellLine(node.argv())}\n`);
  }

  expand([template, ...words]: readonly string[]): number {
    if (template === undefined) throw new UsageError("Cannot expand: give a template such as %n.pid");
    const { nodes } = Cluster.parse(words, { world: this.world });
    const expanded = nodes.map((node) => node.expand(template));
    return this.say(this.#manner.json ? jsonLine(expanded) : expanded.map((text) => `${text}\n`).join(""));
  }

  /** Acts on a fleet and reports as Celery does, or as JSON at the end. Resolves to the exit status. */
  async act(
    words: readonly string[],
    { recalls }: { recalls: boolean },
    preamble: string | null,
    work: (fleet: Cluster, signal: SignalName) => Promise<NodeOutcome[]>,
  ): Promise<number> {
    this.#splash();
    const stopping = new AbortController();
    const end = words.indexOf("--");
    const isOurs = (word: string, at: number) => recalls && isSignalWord(word) && (end < 0 || at < end);
    const fleet = Cluster.parse(words.filter((word, at) => !isOurs(word, at)), {
      world: this.world,
      events: this.#events(),
      recalls,
      signal: stopping.signal,
    });
    if (fleet.nodes.length === 0) throw new UsageError("No nodes: give names, or a number of nodes");
    if (preamble !== null) this.#note(`${preamble}\n`);
    let signalled: "SIGINT" | "SIGTERM" | null = null;
    const unlisten = listenSignals(["SIGINT", "SIGTERM"], (name) => {
      signalled = name as "SIGINT" | "SIGTERM";
      stopping.abort();
    });
    try {
      const outcomes = await work(fleet, signalOf(words.filter(isOurs), "SIGTERM"));
      if (this.#manner.json) this.say(jsonLine(outcomes));
      if (signalled !== null) return exitOfSignal(signalled);
      return outcomes.some(({ status }) => status === "failed" || status === "refused")
        ? EXIT.FAILURE
        : EXIT.OK;
    } catch (error) {
      // The signal ended the wait; the nodes continue to stop by themselves.
      if (signalled !== null) return exitOfSignal(signalled);
      throw error;
    } finally {
      unlisten();
    }
  }

  #events(): ClusterEvents {
    const { err } = this.world.terminal;
    const note = (text: string) => this.#note(text);
    const blue = (text: string) => this.#colour("1;34", text);
    const ok = this.#colour("1;32", "OK");
    return {
      onNodeStart: ({ name }) => note(`\t> ${name}: `),
      onNodeRestart: ({ name }) => note(blue(`> Restarting node ${name}: `)),
      onChildSpawn: (_node, argv) =>
        this.#manner.verbose && note(`  ${shellLine(argv.map((word) => maskUrls(word)))}\n`),
      onChildFailure: (_node, { code, error }, signal) => {
        note(
          signal === null
            ? `* Child terminated with exit code ${code}\n`
            : `* Child was terminated by signal ${(code ?? 128) - 128}\n`,
        );
        err(error ?? "");
      },
      onNodeStatus: (_node, { status }) => note(`${status === "ok" ? ok : this.#colour("1;31", "FAILED")}\n`),
      onStoppingPreamble: () => note(`${blue("> Stopping nodes...")}\n`),
      onSendSignal: ({ name }, signal, pid) => note(`\t> ${name}: ${signal} -> ${pid}\n`),
      onNodeSignal: ({ name }, signal, pid) => note(`Sending ${signal} to node ${name} (${pid})\n`),
      onNodeSignalDead: ({ name }, pid) => note(`Could not signal ${name} (${pid}): No such process\n`),
      onNodeRefused: ({ name }, pid) => err(`Could not signal ${name} (${pid}): Operation not permitted\n`),
      onNodeForeign: ({ name, pidfilePath }, pid) =>
        err(
          `Could not signal ${name} (${pid}): "${pidfilePath}" names a process that is not a Lovage worker\n`,
        ),
      onStillWaitingFor: (nodes, pids) => {
        const noun = nodes.length === 1 ? "node" : "nodes";
        note(blue(`> Waiting for ${nodes.length} ${noun} -> ${pids.join(", ")}...`));
      },
      onStillWaitingProgress: () => note("."),
      onStillWaitingEnd: () => note("\n"),
      onNodeShutdownOk: ({ name }) => note(`\n\t> ${name}: ${ok}\n`),
      onNodeDown: ({ name }) => note(`> ${name}: ${this.#colour("1;35", "DOWN")}\n`),
    };
  }

  #splash(): void {
    if (!this.#manner.nosplash) this.#note(`${this.#colour("1;36", `lovage multi v${VERSION} (lovage)`)}\n`);
  }

  /** Prints a text for people: not with --quiet, and not with --json. */
  #note(text: string): void {
    if (!this.#manner.quiet && !this.#manner.json) this.world.terminal.styled(text);
  }

  #colour(code: string, text: string): string {
    return this.#isColoured ? `\x1b[${code}m${text}\x1b[0m` : text;
  }
}

/** Returns the whole command line of a node. */
function commandOf(node: Node): string[] {
  return [...node.executable === null ? programWords() : [node.executable], ...node.argv()];
}
