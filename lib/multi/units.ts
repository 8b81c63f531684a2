/**
 * A fleet as units for systemd: a template unit, an environment file per node, a target that starts them all, and one
 * unit for beat. Pure: texts by file name.
 *
 * What a node is told stands in its environment file, where systemd expands nothing; the template splits it into words
 * (systemd.service(5), "Command lines": `$NAME` as a word of its own). A name or value can therefore not reach the
 * unit's text. Source: systemd.unit(5), systemd.service(5), systemd.exec(5), systemd 252.
 */

import { quoted, UsageError } from "../base/mod.ts";
import { isGlobalOption, longOption } from "./options.ts";
import { type Node, optionWords } from "./node.ts";

/** The folder of the environment files, beside the units. */
export const ENV_FOLDER = "lovage";
/** A warm shutdown may take as long as a task may; so long where tasks have no limit, seconds. */
const STOP_SECONDS = 300;
/** What is added to a time limit for storing results and settling, seconds. */
const STOP_MARGIN_SECONDS = 30;
/** How long a worker may give no sign of life, seconds. */
const WATCHDOG_SECONDS = 60;
/** The longest unit name systemd takes, characters. */
const UNIT_NAME_MAX = 255;

/** Options that a unit says in its own words, or that make no sense under systemd. */
const LEFT_OUT: ReadonlySet<string> = new Set([
  ...["--detach", "--uid", "--gid", "--ready-timeout", "--hostname", "--pidfile", "--logfile"],
]);
/** Pools that run tasks in the worker's own loop: a task that computes is not a sign of death there. */
const LOOP_POOLS = /^(solo|async|gevent|eventlet)$/;

const MARK = "# Written by `lovage multi systemd`; `lovage multi systemd --uninstall` removes it.\n";

/** What the units need to know beside the nodes. */
export interface UnitPlace {
  /** Where the units will be: an absolute path. */
  readonly folder: string;
  /** The words that start this program. */
  readonly program: readonly string[];
  /** Where the nodes work. */
  readonly workdir: string;
  /** For a user's own manager instead of the system's. */
  readonly isUser: boolean;
  /** Variables that the services need as they are now, e.g. CELERY_BROKER_URL. */
  readonly env: Readonly<Record<string, string>>;
}

/** A file to write: its path from the units' folder, its text, and its mode. */
export interface UnitFile {
  readonly path: string;
  readonly text: string;
  readonly mode: number;
}

/** The files. Throws UsageError for a fleet that systemd cannot have: no nodes, or commands of another program. */
export function fleetUnits(nodes: readonly Node[], place: UnitPlace): UnitFile[] {
  if (nodes.length === 0) throw new UsageError("No nodes: give their names, or a number of them");
  if (nodes.some((node) => node.init.cmd !== null || node.executable !== null)) {
    throw new UsageError("Cannot put --cmd or --executable into units: they start this program's worker");
  }
  const instances = instancesOf(nodes);
  return [
    { path: "lovage@.service", text: workerUnit(nodes, place), mode: 0o644 },
    { path: "lovage.target", text: targetUnit(instances, place), mode: 0o644 },
    { path: "lovage-beat.service", text: beatUnit(nodes, place), mode: 0o644 },
    ...nodes.map((node, n) => ({
      path: `${ENV_FOLDER}/node-${instances[n]}.env`,
      text: envFile({ ...place.env, LOVAGE_ARGS: envWords(nodeWords(node)) }),
      mode: 0o600,
    })),
    {
      path: `${ENV_FOLDER}/beat.env`,
      text: envFile({ ...place.env, LOVAGE_ARGS: envWords([...globalsOf(nodes[0]!), "beat"]) }),
      mode: 0o600,
    },
  ];
}

/** The instances' names: the short name where it is one node's alone, escaped as unit names are. */
function instancesOf(nodes: readonly Node[]): string[] {
  const names = nodes.map((node) => {
    const isAlone = nodes.filter((other) => other.shortName === node.shortName).length === 1;
    return unitEscape(isAlone ? node.shortName : node.name);
  });
  const long = names.find((name) => `lovage@${name}.service`.length > UNIT_NAME_MAX);
  if (long !== undefined) {
    throw new UsageError(`Cannot name a unit for "${long.slice(0, 40)}…": it is too long`);
  }
  return names;
}

/** What a unit's name cannot hold, as `\xNN`; with the dash as it is, since only `%i` reads it. */
function unitEscape(name: string): string {
  return [...new TextEncoder().encode(name)].map((byte, n) => {
    const letter = String.fromCharCode(byte);
    const isFine = /[A-Za-z0-9:_.-]/.test(letter) && !(n === 0 && letter === ".");
    return isFine ? letter : `\\x${byte.toString(16).padStart(2, "0")}`;
  }).join("");
}

function workerUnit(nodes: readonly Node[], place: UnitPlace): string {
  const isWatched = !nodes.some((node) => LOOP_POOLS.test(node.option("-P", "--pool") ?? "processes"));
  return `${MARK}[Unit]
Description=Lovage worker %i
PartOf=lovage.target
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
NotifyAccess=main
EnvironmentFile=${pattern(place.folder)}/${ENV_FOLDER}/node-%i.env
${common(nodes, place)}
# The node's own options are in its environment file.
ExecStart=${commandLine(place.program)} $LOVAGE_ARGS
ExecReload=/bin/kill -HUP $MAINPID

# TERM is a warm shutdown: running tasks end first. What is left then is killed.
KillMode=mixed
KillSignal=SIGTERM
TimeoutStopSec=${stopSeconds(nodes)}
# A worker that waits for its broker asks for more time by itself.
TimeoutStartSec=90
${
    isWatched
      ? `# The worker's own loop must turn; tasks run beside it.
WatchdogSec=${WATCHDOG_SECONDS}`
      : "# No WatchdogSec: this pool runs tasks in the worker's own loop, which a long computation stops."
  }
Restart=on-failure
RestartSec=5
# Wrong options and a pid file that another process holds do not mend by themselves.
RestartPreventExitStatus=64 73
# A task that takes too much memory is one lost task, not a lost worker.
OOMPolicy=continue

${hardening(place.isUser)}
[Install]
WantedBy=lovage.target
`;
}

function beatUnit(nodes: readonly Node[], place: UnitPlace): string {
  return `${MARK}[Unit]
Description=Lovage beat
PartOf=lovage.target
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
NotifyAccess=main
EnvironmentFile=${pattern(place.folder)}/${ENV_FOLDER}/beat.env
${common(nodes, place)}
StateDirectory=lovage
ExecStart=${commandLine(place.program)} $LOVAGE_ARGS --schedule \${STATE_DIRECTORY}/celerybeat-schedule
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
KillSignal=SIGTERM
TimeoutStopSec=30
TimeoutStartSec=90
WatchdogSec=${WATCHDOG_SECONDS}
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=64 73

${hardening(place.isUser)}
[Install]
WantedBy=lovage.target
`;
}

function targetUnit(instances: readonly string[], place: UnitPlace): string {
  return `${MARK}[Unit]
Description=Lovage fleet
${instances.map((name) => `Wants=lovage@${name}.service`).join("\n")}

[Install]
WantedBy=${place.isUser ? "default.target" : "multi-user.target"}
`;
}

/** Who runs it, and where. */
function common(nodes: readonly Node[], place: UnitPlace): string {
  const lines = [`WorkingDirectory=${path(place.workdir)}`];
  const user = same(nodes, "--uid");
  const group = same(nodes, "--gid");
  if (user !== null) lines.push(`User=${account(user, "--uid")}`);
  if (group !== null) lines.push(`Group=${account(group, "--gid")}`);
  // The system's manager gives a home only to services with a user.
  if (!place.isUser && user === null) lines.push("Environment=HOME=%h");
  if (!place.isUser) lines.push("CacheDirectory=lovage", "Environment=LOVAGE_CACHE=%C/lovage");
  return lines.join("\n");
}

/** What a service may not do, and no ordinary task wants to. Left out: what forbids JavaScript its compiler. */
function hardening(isUser: boolean): string {
  const always = [
    "NoNewPrivileges=yes",
    "LockPersonality=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
  ];
  if (isUser) return `${always.join("\n")}\nSystemCallArchitectures=native\n`;
  return `# Tasks may write anywhere but /usr, /boot, /efi and /etc; each node has a /tmp of its own.
${always.join("\n")}
SystemCallArchitectures=native
ProtectSystem=full
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
`;
}

function stopSeconds(nodes: readonly Node[]): number {
  const limits = nodes.map((node) => Number(node.option("--time-limit") ?? NaN));
  const longest = Math.max(...limits);
  return Number.isFinite(longest) ? Math.ceil(longest) + STOP_MARGIN_SECONDS : STOP_SECONDS;
}

/** The value of an option that is one for the whole fleet; null where it is not given. */
function same(nodes: readonly Node[], option: string): string | null {
  const values = new Set(nodes.map((node) => node.option(option)));
  if (values.size > 1) {
    throw new UsageError(`Cannot give nodes different ${option}: one template unit runs them all`);
  }
  return [...values][0] ?? null;
}

function account(name: string, option: string): string {
  if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(name)) {
    throw new UsageError(
      `Cannot use ${quoted(name)} for ${option}: it is not the name of a user or group`,
    );
  }
  return name;
}

/**
 * The words of a node's command line, the program left out. Pid and log files only where they were given: systemd keeps
 * both by itself.
 */
export function nodeWords(node: Node): string[] {
  const given = [...node.init.options.keys()].map(longOption);
  const words: string[] = [];
  for (const [option, value] of node.options) {
    const name = longOption(option);
    const isFile = name === "--pidfile" || name === "--logfile";
    if (isGlobalOption(name) || (LEFT_OUT.has(name) && !(isFile && given.includes(name)))) continue;
    words.push(...optionWords(name, node.expanded(option, value)));
  }
  const { passThrough, append } = node.init;
  const last = append === null ? [] : node.expand(append).split(" ").filter(Boolean);
  return [...globalsOf(node), "worker", `--hostname=${node.name}`, ...words, ...passThrough, ...last];
}

function globalsOf(node: Node): string[] {
  return [...node.options].filter(([option]) => isGlobalOption(option))
    .flatMap(([option, value]) => optionWords(longOption(option), node.expanded(option, value)));
}

/** Words for `$NAME` in a command line: split at white space, quotes respected, a backslash takes the next as it is. */
function envWords(words: readonly string[]): string {
  return words.map((word) =>
    /^[\w@%+=:,./~-]+$/.test(word) ? word : `"${printable(word).replace(/[\\"]/g, "\\$&")}"`
  ).join(" ");
}

/** An environment file: values in double quotes, with a backslash before what means something there. */
function envFile(values: Readonly<Record<string, string>>): string {
  const lines = Object.entries(values).map(([name, value]) =>
    `${name}="${printable(value).replace(/["\\`$]/g, "\\$&")}"`
  );
  return `${MARK}${lines.join("\n")}\n`;
}

/** A path in a unit's setting: only percent signs mean something. */
function path(text: string): string {
  return printable(text).replaceAll("%", "%%");
}

/** A path that systemd takes for a pattern of file names. */
function pattern(text: string): string {
  return path(text).replace(/[\\*?[]/g, "\\$&");
}

/**
 * The program in ExecStart, where percent, backslash and quotes mean something, and in its arguments the dollar sign as
 * well.
 */
function commandLine(words: readonly string[]): string {
  return words.map((word, n) => {
    const given = printable(word).replaceAll("%", "%%");
    const text = n === 0 ? given : given.replaceAll("$", "$$$$");
    return /^[\w@%+=:,./~$-]+$/.test(text) ? text : `"${text.replace(/[\\"]/g, "\\$&")}"`;
  }).join(" ");
}

/** Refuses what would end a line. */
function printable(text: string): string {
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x1f\x7f]/.test(text)) {
    throw new UsageError(
      `Cannot put ${quoted(text.slice(0, 80))} into a unit: it has control characters`,
    );
  }
  return text;
}
