/** The grammar of `multi`, compared with what Celery 5.2.6 prints for the same words. */

import assert from "node:assert/strict";
import { longName } from "../../../lib/base/mod.ts";
import { allOptions, GLOBAL_OPTIONS } from "../../../lib/cli/command.ts";
import { worker } from "../../../lib/cli/worker.ts";
import { isGlobalOption, longOption, nodesOf, readWords, signalOf } from "../../../lib/multi/mod.ts";

const defaults = { hostname: "vm", pidfile: "/run/%n.pid", logfile: "/log/%n%I.log", folder: "/" };
const fleet = (line: string) => nodesOf(readWords(line.split(" ")), defaults);
const names = (line: string) => fleet(line).map((node) => node.name);
/** The command line as a set of options, since their order is not guaranteed. */
const shown = (line: string) => fleet(line).map((node) => node.argv().join(" "));

Deno.test("names: numbers, names, hosts, prefixes and suffixes", () => {
  assert.deepEqual(names("3"), ["celery1@vm", "celery2@vm", "celery3@vm"]);
  assert.deepEqual(names("foo bar@other.host baz"), ["foo@vm", "bar@other.host", "baz@vm"]);
  assert.deepEqual(names("2 --range-prefix=w --hostname=h.example"), ["w1@h.example", "w2@h.example"]);
  assert.deepEqual(names("foo --prefix=pre --suffix=suf.example"), ["prefoo@suf.example"]);
  assert.deepEqual(names("foo@%h bar@%h"), ["foo@vm", "bar@vm"]);
  assert.deepEqual(names("image video -n my.host"), ["image@my.host", "video@my.host"]);
});

Deno.test("options of single nodes: index, range, list, name", () => {
  const concurrency = (line: string) => fleet(line).map((node) => node.options.get("-c"));
  assert.deepEqual(concurrency("3 -c 3 -c:1 10"), ["10", "3", "3"]);
  assert.deepEqual(concurrency("5 -c 3 -c:1-3 10"), ["10", "10", "10", "3", "3"]);
  assert.deepEqual(concurrency("5 -c 3 -c:1,2,3 10"), ["10", "10", "10", "3", "3"]);
  assert.deepEqual(concurrency("image video data -c 3 -c:image 10"), ["10", "3", "3"]);
  assert.deepEqual(concurrency("w1 w2 -c:2 7"), [undefined, "7"]);
  assert.deepEqual(concurrency("foo bar baz -c 3 -c:foo,baz 10"), ["10", "3", "10"]);
  assert.deepEqual(
    concurrency("foo bar -c 3 -c:1,2 10"),
    ["3", "3"],
    "numbers in a list are names, as in Celery",
  );
  assert.throws(() => fleet("2 -c:3 10"), /No node has index 3/);
});

Deno.test("the command line: globals first, long options with =, files expanded, the rest passed through", () => {
  assert.deepEqual(shown("1 -A tasks -c 3 -E --pidfile=/t/%n.pid --logfile=/t/%d/%n%I.log -- -l DEBUG"), [
    "-A tasks worker --detach -c 3 -E --pidfile=/t/celery1.pid --logfile=/t/vm/celery1%I.log -n celery1@vm -- -l DEBUG",
  ]);
  assert.deepEqual(shown("foo -A tasks"), [
    "-A tasks worker --detach -n foo@vm --pidfile=/run/foo.pid --logfile=/log/foo%I.log",
  ]);
  assert.deepEqual(shown("foo --append=--purge").map((line) => line.endsWith(" --purge")), [true]);
});

Deno.test("expand: %n %h %d are the node's, %i and %I are left for the worker", () => {
  const [node] = fleet("foo@a.b");
  assert.equal(node!.expand("%n-%h-%d-%i-%I.pid"), "foo-foo@a.b-a.b-%i-%I.pid");
  assert.equal(node!.expand("/100%/%%n"), "/100%/%n");
  assert.throws(() => node!.expand("%x"), /Unknown format %x/);
});

Deno.test("expand: a path with percent signs is escaped for the worker, and known here unescaped", () => {
  const [node] = fleet("foo@a.b -A /%%41/t.ts --pidfile=/%%41/%n.pid --logfile=/100%/%%%n%I.log");
  assert.equal(node!.pidfilePath, "/%41/foo.pid");
  assert.equal(node!.logfilePath, "/100%/%foo.log");
  const words = node!.argv();
  assert.equal(words[words.indexOf("-A") + 1], "/%41/t.ts");
  assert.ok(words.includes("--pidfile=/%%41/foo.pid"));
  assert.ok(words.includes("--logfile=/100%/%%foo%I.log"));
});

Deno.test("signals: the last one wins, by name or number", () => {
  assert.equal(signalOf(["-QUIT", "-A", "tasks"], "SIGTERM"), "SIGQUIT");
  assert.equal(signalOf(["-9"], "SIGTERM"), "SIGKILL");
  assert.equal(signalOf(["-SIGHUP", "-INT"], "SIGTERM"), "SIGINT");
  assert.equal(signalOf(["-c", "3"], "SIGTERM"), "SIGTERM");
});

Deno.test("options of a node: every spelling of the command line is known here, with its long spelling", () => {
  for (const [key, { short, aliases = [] }] of Object.entries(allOptions(worker.options))) {
    const others = [short ?? [], aliases].flat().filter((one) => one !== "-h");
    for (const one of others) assert.equal(longOption(one), longOption(longName(key)), one);
  }
  for (const key of Object.keys(GLOBAL_OPTIONS)) assert.ok(isGlobalOption(longName(key)), key);
  assert.ok(isGlobalOption("-A") && !isGlobalOption("-c"));
});
