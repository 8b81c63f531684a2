/**
 * A fleet as systemd units: a template unit, an environment file for each node, a target that starts them
 * all, and a unit for beat. Pure: returns texts by file name.
 *
 * A node's options are in its environment file, where systemd expands nothing; the template splits them into
 * words (systemd.service(5), "Command lines": `$NAME` as a word of its own). So no name or value can become
 * part of the unit's text.
 *
 * Source: systemd.unit(5), systemd.service(5), systemd.exec(5), systemd 252.
 */

import { quoted, UsageError } from "../base/mod.ts";
import { isGlobalOption, longOption } from "./options.ts";
import { type Node, optionWords } from "./node.ts";

/** The folder of the environment files, in the units' folder. */
export const ENV_FOLDER = "lovage";
/** How long a stop may take if tasks have no time limit, seconds: a warm shutdown waits for running tasks. */
const STOP_SECONDS = 300;
/** Added to a time limit, for storing results and settling messages, seconds. */
const STOP_MARGIN_SECONDS = 30;
/** How long a worker may send no sign of life, seconds. */
const WATCHDOG_SECONDS = 60;
/** The longest unit name that systemd accepts, characters. */
const UNIT_NAME_MAX = 255;

/** Options that the unit sets itself, or that make no sense under systemd. */
const LEFT_OUT: ReadonlySet<string> = new Set([
  ...["--detach", "--uid", "--gid", "--ready-timeout", "--hostname", "--pidfile", "--logfile"],
]);
/**
 * Pools that run tasks in the worker's own event loop: a task that computes there blocks the watchdog's
 * signal.
 */
const LOOP_POOLS = /^(solo|async|gevent|eventlet)$/;

const MARK = "# Written by `lovage multi systemd`; `lovage multi systemd --uninstall` removes it.\n";

/** What the units need to know apart from the nodes. */
export interface UnitPlace {
  /** Absolute path of the units' folder. */
  readonly folder: string;
  /** The words that start this program. */
  readonly program: readonly string[];
  /** The folder that the nodes work in. */
  readonly workdir: string;
  /** True: for the user's own systemd instead of the system's. */
  readonly isUser: boolean;
  /** Environment variables that the services need with their present values, such as CELERY_BROKER_URL. */
  readonly env: Readonly<Record<string, string>>;
}

/** A file to write: its path from the units' folder, its text, and its mode. */
export interface UnitFile {
  readonly path: string;
  readonly text: string;
  readonly mode: number;
}

/**
 * Returns the files. Throws UsageError if systemd cannot run the fleet: no nodes, or commands of another
 * program.
 */
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

/**
 * Returns the instance names: the short name if only one node has it, else the whole name, escaped as unit
 * names are.
 */
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

/** Escapes what a unit's name cannot hold as `\xNN`. A dash is kept, since only `%i` reads the name. */
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

/** Returns the settings of user and folders. */
function common(nodes: readonly Node[], place: UnitPlace): string {
  const lines = [`WorkingDirectory=${path(place.workdir)}`];
  const user = same(nodes, "--uid");
  const group = same(nodes, "--gid");
  if (user !== null) lines.push(`User=${account(user, "--uid")}`);
  if (group !== null) lines.push(`Group=${account(group, "--gid")}`);
  // The system's systemd sets HOME only for services with a user.
  if (!place.isUser && user === null) lines.push("Environment=HOME=%h");
  if (!place.isUser) lines.push("CacheDirectory=lovage", "Environment=LOVAGE_CACHE=%C/lovage");
  return lines.join("\n");
}

/**
 * Returns settings that forbid what no ordinary task does. Not among them: what would forbid the JavaScript
 * compiler.
 */
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

/** Returns the value of an option that must be the same for the whole fleet; null if it is not given. */
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
 * Returns the words of a node's command line, without the program. Pid and log files only if they were given,
 * since systemd manages both itself.
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

/**
 * Encodes words for `$NAME` in a command line: systemd splits at white space, respects quotes, and takes the
 * character after a backslash literally.
 */
function envWords(words: readonly string[]): string {
  return words.map((word) =>
    /^[\w@%+=:,./~-]+$/.test(word) ? word : `"${printable(word).replace(/[\\"]/g, "\\$&")}"`
  ).join(" ");
}

/** Returns an environment file: values in double quotes, with a backslash before special characters. */
function envFile(values: Readonly<Record<string, string>>): string {
  const lines = Object.entries(values).map(([name, value]) =>
    `${name}="${printable(value).replace(/["\\`$]/g, "\\$&")}"`
  );
  return `${MARK}${lines.join("\n")}\n`;
}

/** Escapes a path in a setting of a unit, where only percent signs are special. */
function path(text: string): string {
  return printable(text).replaceAll("%", "%%");
}

/** Escapes a path that systemd treats as a file name pattern. */
function pattern(text: string): string {
  return path(text).replace(/[\\*?[]/g, "\\$&");
}

/**
 * Escapes the command of ExecStart: percent, backslash and quotes are special, and in arguments the dollar
 * sign too.
 */
function commandLine(words: readonly string[]): string {
  return words.map((word, n) => {
    const given = printable(word).replaceAll("%", "%%");
    const text = n === 0 ? given : given.replaceAll("$", "$$$$");
    return /^[\w@%+=:,./~$-]+$/.test(text) ? text : `"${text.replace(/[\\"]/g, "\\$&")}"`;
  }).join(" ");
}

/** Refuses control characters, which would end a line. */
function printable(text: string): string {
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x1f\x7f]/.test(text)) {
    throw new UsageError(
      `Cannot put ${quoted(text.slice(0, 80))} into a unit: it has control characters`,
    );
  }
  return text;
}
