/** `lovage ui` and `lovage run` from outside: what they refuse, and what a pipe gets of them. */

import assert from "node:assert/strict";
import { environment, LOVAGE, lovage, Program } from "../support/programs.ts";
import { disposableFolder } from "../support/temporary.ts";

Deno.test("ui: an option that is empty or cannot be is refused, and no door is left open for it", async () => {
  const refused: readonly (readonly [readonly string[], string])[] = [
    [["--unix-socket", ""], 'Cannot use --unix-socket "": it is empty'],
    [["--basic-auth", ""], 'Cannot use --basic-auth "": it must name at least one login'],
    [["--basic-auth", " , "], 'Cannot use --basic-auth " , ": it must name at least one login'],
    [["--token", ""], 'Cannot use --token "": it must name at least one token'],
    [["--cookie-secret", ""], 'Cannot use --cookie-secret "": it is empty'],
    [["--oidc-client-id", ""], 'Cannot use --oidc-client-id "": it is empty'],
    [["--db", ""], 'Cannot use --db "": it is empty'],
    [["--url-prefix", "a b"], 'Cannot use --url-prefix "a b": it must be a URL path such as /lovage'],
    [
      ["--url-prefix", "/x/.."],
      'Cannot use --url-prefix "/x/..": it must be a URL path such as /lovage',
    ],
    [["--url-prefix", "/a%"], 'Cannot use --url-prefix "/a%": it must be a URL path such as /lovage'],
    [
      ["--proxy-auth-header", ""],
      'Cannot use --proxy-auth-header "": it must be a header name such as X-Remote-User',
    ],
    [
      ["--auth", "(kim|jo)@example\\.org"],
      'Cannot use --oidc-allow "(kim|jo)@example\\\\.org": it must be addresses such as "kim@example.org|.*@example.com"',
    ],
    [
      ["--task-runtime-metric-buckets", "1,x"],
      'Cannot use --task-runtime-metric-buckets "1,x": it must be seconds in ascending order, such as 0.1,1,10',
    ],
    [
      ["--token", "raed:secret"],
      'Cannot use --token: did you mean "read:"? Scopes are read, operate, admin; write admin: before a token that ' +
      "itself begins with such a word",
    ],
    [["--cert", "/none/c", "--key", "/none/k"], 'Cannot read "/none/c": there is no such file'],
  ];
  for (const [words, text] of refused) {
    const { code, err } = await lovage(["ui", "--port", "0", "--no-history", ...words], {
      broker: "memory://",
    });
    assert.equal(err.split("\n")[0], `Error: ${text}`, words.join(" "));
    assert.equal(code, 64, words.join(" "));
  }
});

Deno.test("ui: a socket where something else lies is refused with 73, and stays as it is", async () => {
  await using folder = await disposableFolder();
  const path = `${folder.path}/notes`;
  await Deno.writeTextFile(path, "mine");
  const words = ["ui", "--no-history", "--unix-socket", path];
  const { code, err } = await lovage(words, { broker: "memory://" });
  assert.deepEqual([code, await Deno.readTextFile(path)], [73, "mine"], err);
});

Deno.test("ui: a socket is shown by its path, as it is", async () => {
  await using folder = await disposableFolder();
  const place = `unix:${folder.path}/ui.sock`;
  await using program = new Program(
    [...LOVAGE, "ui", "--no-history", "--unix-socket", place.slice("unix:".length)],
    environment({ broker: "memory://" }),
  );
  await program.says(/^Console: .*\n/m);
  assert.match(program.text, new RegExp(`^Console: ${place}$`, "m"));
});

Deno.test("run, test: an error that no terminal shows has no colours", async () => {
  await using folder = await disposableFolder();
  const path = `${folder.path}/broken.ts`;
  await Deno.writeTextFile(path, 'throw new Error("here");\n');
  for (const command of ["run", "test"]) {
    const { code, out, err } = await lovage([command, path], { broker: "memory://" });
    assert.equal(code, 1, err);
    assert.match(out + err, /here/);
    assert.ok(!(out + err).includes("\u001b"), err);
  }
});
