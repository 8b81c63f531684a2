/** `lovage multi systemd`: prints, installs or removes systemd units for the same nodes. */

import { type Host, UsageError } from "../base/mod.ts";
import {
  absolute,
  Cluster,
  fleetUnits,
  installUnits,
  type Node,
  nodeWords,
  programWords,
  uninstallUnits,
} from "../multi/mod.ts";
import { EXIT, isRoot, type RealWorld } from "../platform/mod.ts";
import { readWords } from "./reader.ts";

/**
 * Variables that affect a worker. They are written to the units, since a service does not get the shell's.
 */
const CARRIED = [
  "CELERY_BROKER_URL",
  "CELERY_RESULT_BACKEND",
  "CELERY_APP",
  "CELERY_CONFIG_MODULE",
  "LOVAGE_HOME",
];

/** The words after `systemd`, split into its own options and the fleet's words. */
interface Asked {
  install: string | true | null;
  uninstall: string | true | null;
  isUser: boolean | null;
  words: string[];
}

/**
 * Runs the subcommand. Resolves to the exit status; rejects with UsageError for invalid words, and for files
 * that Lovage did not install.
 */
export async function systemd(world: RealWorld, argv: readonly string[]): Promise<number> {
  const { host, terminal } = world;
  const asked = read(argv);
  const isUser = asked.isUser ?? !isRoot();
  const given = [asked.install, asked.uninstall].find((one) => typeof one === "string") as string | undefined;
  const folder = given === undefined ? unitFolder(host, isUser) : absolute(given, host.cwd);
  const systemctl = isUser ? "systemctl --user" : "systemctl";
  if (asked.uninstall !== null) {
    const { removed, kept } = await uninstallUnits(folder);
    for (const path of removed) terminal.out(`removed ${folder}/${path}\n`);
    for (const path of kept) terminal.err(`kept ${folder}/${path}: it was changed since it was installed\n`);
    terminal.out(`Then: ${systemctl} daemon-reload\n`);
    return kept.length === 0 ? EXIT.OK : EXIT.FAILURE;
  }
  const { nodes } = Cluster.parse(asked.words, { world });
  for (const node of nodes) await mustStart(node);
  const env = Object.fromEntries(
    CARRIED.map((name) => [name, host.env(name)] as const).filter(([, value]) => value),
  );
  const program = programWords();
  const files = fleetUnits(nodes, {
    folder,
    program: [absolute(program[0]!, host.cwd), ...program.slice(1)],
    workdir: host.cwd,
    isUser,
    env: env as Record<string, string>,
  });
  if (asked.install === null) {
    for (const { path, text } of files) terminal.out(`# ${folder}/${path}\n${text}\n`);
    return EXIT.OK;
  }
  const { written, removed, kept } = await installUnits(folder, files);
  for (const path of written) terminal.out(`wrote ${folder}/${path}\n`);
  for (const path of removed) terminal.out(`removed ${folder}/${path}\n`);
  for (const path of kept) terminal.err(`kept ${folder}/${path}: it was changed since it was installed\n`);
  terminal.out(`Then: ${systemctl} daemon-reload && ${systemctl} enable --now lovage.target\n`);
  return EXIT.OK;
}

/** Refuses a node whose worker would reject its options: its unit would fail at every start. */
async function mustStart(node: Node): Promise<void> {
  const words = nodeWords(node);
  const at = words.indexOf("worker");
  try {
    readWords("worker", {
      command: (await import("./worker.ts")).worker,
      words: [...words.slice(0, at), ...words.slice(at + 1)],
    });
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(`Cannot make a unit for ${node.name}: ${error.message}`);
  }
}

/**
 * Parses the words. `--install` and `--uninstall` take the next word, or the text after =, as their folder.
 */
function read(argv: readonly string[]): Asked {
  const asked: Asked = { install: null, uninstall: null, isUser: null, words: [] };
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at]!;
    const match = /^--(install|uninstall)(?:=(.+))?$/.exec(word);
    if (word === "--") {
      asked.words.push(...argv.slice(at));
      break;
    } else if (match) {
      const next = argv[at + 1];
      const isNext = match[2] === undefined && next !== undefined && !next.startsWith("-");
      asked[match[1] as "install" | "uninstall"] = match[2] ?? (isNext ? next : true);
      if (isNext) at++;
    } else if (word === "--user" || word === "--system") asked.isUser = word === "--user";
    else asked.words.push(word);
  }
  if (asked.install !== null && asked.uninstall !== null) {
    throw new UsageError("Cannot install and uninstall at once");
  }
  return asked;
}

/** Returns the folder in which systemd looks for local units. Source: systemd.unit(5). */
function unitFolder(host: Host, isUser: boolean): string {
  if (!isUser) return "/etc/systemd/system";
  const config = host.env("XDG_CONFIG_HOME");
  if (config?.startsWith("/")) return `${config}/systemd/user`;
  const home = host.env("HOME");
  if (!home) {
    throw new UsageError("Cannot find your unit folder: HOME is not set; name one with --install=DIR");
  }
  return `${home}/.config/systemd/user`;
}
