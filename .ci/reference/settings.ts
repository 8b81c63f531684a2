/** The page of settings: names and kinds from lib/app/conf, sentences from the comments of its interfaces. */

import { filePath } from "../../lib/base/mod.ts";
import { INERT_SETTINGS, SETTINGS } from "../../lib/app/conf/table.ts";
import golden from "../../tests/golden/settings-5.6.3.json" with { type: "json" };
import { code, page, sentence, table } from "./markdown.ts";

const CONF = filePath(new URL("../../lib/app/conf/", import.meta.url));

/** The groups of the page: a heading, and the prefixes of its names. All other names are in "General". */
const GROUPS: readonly (readonly [title: string, ...prefixes: string[]])[] = [
  ["Broker", "broker_"],
  ["Tasks", "task_"],
  ["Results", "result_"],
  ["Results on Redis", "redis_"],
  ["Workers", "worker_"],
  ["Beat", "beat_"],
  ["Events", "event_", "events_"],
  ["Remote control", "control_"],
  ["Signed messages", "security_"],
];

const OLD: Readonly<Record<string, readonly unknown[]>> = golden.settings;

/** A setting as its interface explains it. */
interface Explained {
  text: string;
  /** True if Celery does not have it. */
  isOurs: boolean;
}

/** docs/reference/settings.md. */
export function settingsPage(): string {
  const explained = explanations();
  const taken = new Set<string>();
  const sections = [...GROUPS, ["General"] as const].map(([title, ...prefixes]) => {
    const names = [...SETTINGS.keys()].filter((name) =>
      !taken.has(name) && (title === "General" || prefixes.some((prefix) => name.startsWith(prefix)))
    );
    for (const name of names) taken.add(name);
    return `## ${title}\n\n${names.map((name) => entry(name, explained.get(name)!)).join("\n\n")}`;
  });
  return page(
    "Settings",
    "Names, units and defaults are Celery's, so one configuration serves both. Durations are seconds unless the name says " +
      "otherwise. An unknown name is refused, and the error names the nearest " +
      "one. Where settings come from, and which source wins: [tasks and settings](../tasks.md#settings).",
    ...sections,
    "## Names of before\n\nCelery's upper-case names of before version 4 are understood too, and " +
      "`lovage upgrade settings FILE` replaces them.\n\n" + table(
        ["name", "before"],
        [...SETTINGS.keys()].sort().flatMap((name) => {
          const old = OLD[name]?.[1];
          return typeof old === "string" && old !== name.toUpperCase() ? [[code(name), code(old)]] : [];
        }),
      ),
    "## Without effect\n\nThese settings of Celery's mean nothing here: they belong to result stores that Lovage does not have, or " +
      "to classes of Python. They are taken, so that a shared configuration loads.\n\n" +
      [...INERT_SETTINGS].sort().map(code).join(", ") + ".",
  );
}

/** Formats a setting with its own heading, so that it can be linked and searched. */
function entry(name: string, { text, isOurs }: Explained): string {
  const { expected, defaultValue } = SETTINGS.get(name)!;
  const kind = expected.replace(/ or null$/, ", or null");
  return `#### ${code(name)}\n\n${text}\n\n_Value:_ ${kind}. _Default:_ ${shownDefault(defaultValue)}.` +
    (isOurs ? " Celery does not have it." : "");
}

function shownDefault(value: unknown): string {
  if (value === Infinity) return "no limit";
  return code(JSON.stringify(value));
}

/** Returns the comments of the interfaces, by the setting's name. */
function explanations(): Map<string, Explained> {
  const found = new Map<string, Explained>();
  for (const file of ["general", "task", "worker", "broker", "result"]) {
    const source = Deno.readTextFileSync(`${CONF}${file}.ts`);
    const body = /export interface \w+Settings \{([\s\S]*?)^\}/m.exec(source)![1]!;
    for (const [, comment, name] of body.matchAll(/\/\*\*([\s\S]*?)\*\/\s*(\w+):/g)) {
      const text = comment!.replaceAll(/^\s*\*/gm, "").replaceAll(/\s+/g, " ").trim();
      found.set(name!, {
        text: sentence(
          text.replace(/ ?Default (?:\[.*?\]|\{.*?\}|".*?"|[^ ]+?|Celery's)\.$/, "").replace(
            / ?\bOurs\./,
            "",
          ),
        ),
        isOurs: /\bOurs\./.test(text),
      });
    }
  }
  const missing = [...SETTINGS.keys()].filter((name) => !found.has(name));
  if (missing.length > 0) throw new Error(`Settings without a comment: ${missing.join(", ")}`);
  return found;
}
