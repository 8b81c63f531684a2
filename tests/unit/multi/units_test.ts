/**
 * Units: every word reaches the worker unchanged through the environment file, and none becomes part of the
 * unit's text.
 */

import assert from "node:assert/strict";
import fc from "fast-check";
import { fleetUnits, Node } from "../../../lib/multi/mod.ts";

const place = {
  folder: "/etc/systemd/system",
  program: ["/opt/lovage"],
  workdir: "/srv",
  isUser: false,
  env: {},
};

function node(name: string, options: [string, string | null][]): Node {
  return new Node({
    name,
    options: new Map(options),
    passThrough: [],
    cmd: null,
    append: null,
    defaults: { pidfile: "/run/%n.pid", logfile: "/log/%n.log" },
    folder: "/srv",
  });
}

/**
 * Returns the value of a double-quoted line. Source: systemd 252 basic/env-file.c parse_env_file_internal.
 */
function readEnv(text: string, name: string): string {
  const line = text.split("\n").find((one) => one.startsWith(`${name}=`))!;
  const inside = /^\w+="(.*)"$/s.exec(line)![1]!;
  assert.doesNotMatch(inside.replace(/\\./g, ""), /["\\]/, "no quote is left open");
  return inside.replace(/\\(.)/g, (whole, letter: string) => '"\\`$'.includes(letter) ? letter : whole);
}

/** Splits `$NAME` into words. Source: systemd 252 basic/extract-word.c with EXTRACT_UNQUOTE|EXTRACT_RELAX. */
function splitWords(text: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  let quote = "";
  for (let n = 0; n < text.length; n++) {
    const letter = text[n]!;
    if (letter === "\\") word = (word ?? "") + (text[++n] ?? "");
    else if (quote !== "") {
      if (letter === quote) quote = "";
      else word += letter;
    } else if (letter === '"' || letter === "'") {
      quote = letter;
      word ??= "";
    } else if (" \t\n\r".includes(letter)) {
      if (word !== null) words.push(word);
      word = null;
    } else word = (word ?? "") + letter;
  }
  return word === null ? words : [...words, word];
}

Deno.test("fleetUnits: every word arrives unchanged", () => {
  const value = fc.string({ unit: "grapheme", minLength: 1, maxLength: 30 })
    // deno-lint-ignore no-control-regex
    .filter((text) => !/[\x00-\x1f\x7f%]/.test(text));
  fc.assert(
    fc.property(value, value, (statedb, app) => {
      const files = fleetUnits([node("w1@h", [["-A", app], ["--statedb", statedb]])], place);
      const env = files.find(({ path }) => path === "lovage/node-w1.env")!.text;
      assert.deepEqual(splitWords(readEnv(env, "LOVAGE_ARGS")), [
        `--app=${app}`,
        "worker",
        "--hostname=w1@h",
        `--statedb=${statedb}`,
      ]);
      const unit = files.find(({ path }) => path === "lovage@.service")!.text;
      assert.equal(
        unit,
        fleetUnits([node("w1@h", [["-A", "x"]])], place)[0]!.text,
        "the unit knows nothing of it",
      );
    }),
    { numRuns: 500 },
  );
});

Deno.test("fleetUnits: values in the unit are escaped; it follows time limits, pools and users", () => {
  const odd = {
    ...place,
    folder: "/a b%c/[x]*",
    workdir: "/w %n $x",
    program: ['/$o "p"\\t', "$HOME", "100%"],
  };
  const [unit, target] = fleetUnits([
    node("w1@h", [["--time-limit", "90.5"], ["--uid", "app"], ["--gid", "1000"]]),
    node("w2@h", [["--time-limit", "10"], ["--uid", "app"], ["--gid", "1000"], ["-P", "solo"]]),
  ], odd);
  const has = (line: string) => assert.ok(unit!.text.split("\n").includes(line), `${line} in\n${unit!.text}`);
  has("EnvironmentFile=/a b%%c/\\[x]\\*/lovage/node-%i.env");
  has("WorkingDirectory=/w %%n $x");
  has('ExecStart="/$o \\"p\\"\\\\t" $$HOME 100%% $LOVAGE_ARGS');
  has("TimeoutStopSec=121");
  has("User=app");
  has("Group=1000");
  assert.doesNotMatch(unit!.text, /^WatchdogSec/m, "solo runs tasks in its own loop");
  assert.match(target!.text, /^Wants=lovage@w1\.service\nWants=lovage@w2\.service$/m);
  const plain = fleetUnits([node("w1@h", [])], place)[0]!.text;
  assert.match(plain, /^WatchdogSec=60$/m);
  assert.match(plain, /^TimeoutStopSec=300$/m);
});

Deno.test("fleetUnits: nodes with one short name are distinguished; pid and log files only if given", () => {
  const files = fleetUnits([
    node("w1@a", [["--logfile", "/x/%n.log"]]),
    node("w1@b", []),
    node("büro@h", []),
  ], { ...place, env: { CELERY_BROKER_URL: "redis://:p$w@h" } });
  assert.deepEqual(files.map(({ path, mode }) => `${path} ${mode.toString(8)}`), [
    "lovage@.service 644",
    "lovage.target 644",
    "lovage-beat.service 644",
    "lovage/node-w1\\x40a.env 600",
    "lovage/node-w1\\x40b.env 600",
    "lovage/node-b\\xc3\\xbcro.env 600",
    "lovage/beat.env 600",
  ]);
  assert.equal(readEnv(files[3]!.text, "LOVAGE_ARGS"), "worker --hostname=w1@a --logfile=/x/w1.log");
  assert.equal(readEnv(files[4]!.text, "LOVAGE_ARGS"), "worker --hostname=w1@b");
  assert.equal(readEnv(files[4]!.text, "CELERY_BROKER_URL"), "redis://:p$w@h");
});
