/**
 * The stub of the packed file, with a small program behind it: which copies it runs, mends, refuses and removes.
 *
 * The program is a shell script in place of the runtime. It prints its own path and the arguments after the module's.
 * What other users could do needs root, which plays them.
 */

import assert from "node:assert/strict";
import { packFolder } from "../../.ci/pack.ts";
import { runProgram } from "../support/run.ts";

const STUB = new URL("../../.ci/dist_stub.sh", import.meta.url);
const PROGRAM = `#!/bin/sh
# ${"x".repeat(100)}
echo "$0"
while [ $# -gt 0 ]; do case $1 in */main.js) shift; break;; esac; shift; done
for word; do echo "$word"; done
[ -z "\${OTEL_DENO:-}" ] || echo "telemetry $OTEL_DENO"
[ -z "\${WAIT:-}" ] || { echo ready; exec sleep 60; }
`;
const isRoot = Deno.uid() === 0;

interface Place extends AsyncDisposable {
  readonly folder: string;
  readonly file: string;
  /** Runs the packed file; by default with `home` below the folder as HOME. */
  run(env?: Record<string, string>, options?: { user?: string; args?: string[] }): Promise<Run>;
  /** Runs a shell script as a user. */
  sh(script: string, user?: string): Promise<string>;
}

interface Run {
  readonly code: number;
  /** The program that ran, then its arguments. */
  readonly out: string[];
  readonly err: string;
}

async function place(name = "lovage stub "): Promise<Place> {
  const folder = await Deno.realPath(await Deno.makeTempDir({ prefix: name }));
  await Deno.chmod(folder, 0o755);
  const file = await pack(folder, "one");
  Deno.mkdirSync(`${folder}/home #?*`, { mode: 0o700 });
  Deno.mkdirSync(`${folder}/tmp`);
  Deno.chmodSync(`${folder}/tmp`, 0o1777);
  const command = async (program: string, args: string[], env: Record<string, string>, user?: string) => {
    const as = user === undefined ? [] : ["setpriv", "--reuid", user, "--regid", "nogroup", "--clear-groups"];
    const { code, out, err } = await runProgram([...as, program, ...args], {
      env: { PATH: "/usr/bin:/bin", ...env },
      clearEnv: true,
      cwd: folder,
    });
    return { code, out: out.split("\n").slice(0, -1), err };
  };
  return {
    folder,
    file,
    run: (env = { HOME: `${folder}/home #?*` }, { user, args = [] } = {}) => command(file, args, env, user),
    sh: async (script, user) => (await command("sh", ["-c", script], {}, user)).out.join("\n"),
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

/** A packed file; another `version` is another copy. */
async function pack(folder: string, version: string): Promise<string> {
  const program = `${folder}/program-${version}`;
  Deno.mkdirSync(program);
  Deno.writeTextFileSync(`${program}/deno`, PROGRAM, { mode: 0o755 });
  Deno.writeTextFileSync(`${program}/main.js`, `// ${version}`);
  Deno.writeTextFileSync(`${program}/empty-1.js`, "");
  const target = `${folder}/lovage #?* ${version}`;
  await packFolder(program, { stub: Deno.readTextFileSync(STUB), target });
  return target;
}

/** The copies and what else lies in a cache folder. */
function names(cache: string): string[] {
  return [...Deno.readDirSync(`${cache}/lovage`)].map(({ name }) => name).sort();
}

/** The folder of the copy that ran. */
function copyOf({ code, out, err }: Run): string {
  assert.equal(code, 0, err);
  assert.match(out[0]!, /\/deno$/);
  return out[0]!.slice(0, -"/deno".length);
}

Deno.test("stub: the first start unpacks, every start runs that copy with its arguments", async () => {
  await using here = await place("lovage é %41 ");
  const first = await here.run(undefined, { args: ["a b", "", "*"] });
  const copy = copyOf(first);
  assert.deepEqual(first.out.slice(1), ["a b", "", "*"]);
  assert.match(copy, new RegExp(`^${RegExp.escape(`${here.folder}/home #?*`)}/.cache/lovage/[0-9a-f]{16}$`));
  const { ino } = Deno.statSync(`${copy}/deno`);
  const again = await here.run({ HOME: `${here.folder}/home #?*`, OTEL_DENO: "true" });
  assert.deepEqual(again.out, [`${copy}/deno`], "the runtime's own telemetry stays off");
  assert.equal(Deno.statSync(`${copy}/deno`).ino, ino, "unpacked once");
  for (const { name } of Deno.readDirSync(copy)) {
    const { mtime, mode } = Deno.statSync(`${copy}/${name}`);
    assert.ok(Date.now() - mtime!.getTime() < 60_000, `${name} is dated today: cleaners go by that`);
    assert.equal(mode! & 0o022, 0, name);
  }
  assert.equal(Deno.statSync(copy).mode! & 0o777, 0o700);
});

Deno.test("stub: folders by preference; what cannot be written or does not exist is passed over", async () => {
  await using here = await place();
  const { folder } = here;
  const [HOME, LOVAGE_CACHE, XDG_CACHE_HOME] = [`${folder}/home #?*`, `${folder}/own/cache`, `${folder}/xdg`];
  const TMPDIR = `${folder}/tmp`;
  const used = async (env: Record<string, string>) =>
    copyOf(await here.run(env)).replace(/\/lovage\/\w+$/, "");
  assert.equal(await used({ HOME, XDG_CACHE_HOME, LOVAGE_CACHE }), LOVAGE_CACHE);
  assert.equal(await used({ HOME, XDG_CACHE_HOME }), XDG_CACHE_HOME);
  assert.equal(await used({ HOME, LOVAGE_CACHE: "own/relative" }), `${folder}/own/relative`);
  const temporary = `${TMPDIR}/lovage-${Deno.uid()}`;
  assert.equal(await used({ HOME: `${folder}/nowhere`, TMPDIR }), temporary);
  assert.equal(await used({ TMPDIR }), temporary);
  assert.equal(await used({ LOVAGE_CACHE: "/proc/none", TMPDIR }), temporary);
  await here.sh(`ln -s '${folder}/home #?*' '${folder}/linked'`);
  assert.equal(await used({ HOME: `${folder}/linked` }), `${HOME}/.cache`);
});

Deno.test("stub: a copy from which something is missing or cut off is mended", async () => {
  await using here = await place();
  const copy = copyOf(await here.run());
  const whole = names(`${copy}/..`.replace(/\/lovage\/[^/]+\/\.\.$/, ""));
  for (
    const harm of [
      "rm deno",
      "rm main.js",
      "rm *",
      "truncate -s 20 deno",
      "truncate -s 0 main.js",
      "rm deno; ln -s /bin/false deno",
      "rm empty-1.js; mkdir other; echo x > empty-1.js",
    ]
  ) {
    await here.sh(`cd '${copy}' && ${harm}`);
    assert.equal(copyOf(await here.run()), copy, harm);
    assert.equal(Deno.readTextFileSync(`${copy}/deno`), PROGRAM, harm);
    assert.equal(Deno.readTextFileSync(`${copy}/main.js`), "// one", harm);
    assert.equal(Deno.statSync(`${copy}/empty-1.js`).size, 0, harm);
    assert.deepEqual(names(`${here.folder}/home #?*/.cache`), whole, `${harm}: nothing is left behind`);
  }
});

Deno.test("stub: several first starts at once, and several that mend", async () => {
  await using here = await place();
  for (const harm of ["true", `rm '${here.folder}/home #?*'/.cache/lovage/*/main.js`]) {
    await here.sh(harm);
    const copies = await Promise.all(Array.from({ length: 6 }, async () => copyOf(await here.run())));
    assert.equal(new Set(copies).size, 1);
    assert.equal(names(`${here.folder}/home #?*/.cache`).length, 1);
  }
});

Deno.test("stub: removes old versions that nobody uses, and what broken-off starts left", async () => {
  await using here = await place();
  const cache = `${here.folder}/home #?*/.cache`;
  const old = copyOf(await here.run());
  const mark = old.slice(old.lastIndexOf("/") + 1);
  const newer = await pack(here.folder, "two");
  const run = () => new Deno.Command(newer, { env: { HOME: `${here.folder}/home #?*` } }).output();
  const runNewer = async () => {
    // A start looks after the others four times an hour.
    const others = `'${old}/' | */0123456789abcdef/`;
    await here.sh(
      `for copy in '${cache}'/lovage/*/; do case $copy in ${others}) ;; *) touch -d '20 minutes ago' "$copy" ;; esac; done`,
    );
    await run();
  };
  await here.sh(`cd '${cache}/lovage' && mkdir ${mark}.abc123 0123456789abcdef deno notes && touch ${mark}x`);
  const kept = ["deno", "notes", `${mark}x`];
  await runNewer();
  const now = names(cache).find((name) =>
    /^[0-9a-f]{16}$/.test(name) && name !== mark && !/^0123/.test(name)
  )!;
  assert.deepEqual(names(cache), [mark, now, "0123456789abcdef", ...kept].sort(), "used lately");
  await here.sh(`touch -d '2 hours ago' '${old}' '${cache}/lovage/0123456789abcdef'`);
  const running = new Deno.Command("sleep", { args: ["60"], cwd: old }).spawn();
  try {
    await runNewer();
    assert.deepEqual(names(cache), [mark, now, ...kept].sort(), "in use");
  } finally {
    running.kill("SIGKILL");
    await running.status;
  }
  await runNewer();
  assert.deepEqual(names(cache), [now, ...kept].sort());
});

Deno.test("stub: a copy that is in use is touched again before cleaners would take it", async () => {
  await using here = await place();
  const copy = copyOf(await here.run());
  await here.sh(`touch -d '3 days ago' '${copy}'/* '${copy}'`);
  await here.run();
  for (const name of ["", "/deno", "/main.js"]) {
    assert.ok(Date.now() - Deno.statSync(copy + name).mtime!.getTime() < 60_000, name);
  }
});

Deno.test("stub: a process of another version is refused in one line", async () => {
  await using here = await place();
  const { code, err } = await here.run({ HOME: `${here.folder}/home #?*`, LOVAGE_COPY: "0123456789abcdef" });
  assert.equal(code, 73);
  assert.match(err, /^Error: Cannot start a process of the running program: .* restart the program\n$/);
});

Deno.test({
  name: "stub: runs nothing that another user made or could change",
  ignore: !isRoot,
  fn: async () => {
    await using here = await place();
    const { folder } = here;
    const env = { TMPDIR: `${folder}/tmp`, HOME: "/nonexistent" };
    const own = `${folder}/tmp/lovage-1`;
    const victim = { user: "1" };
    const copy = copyOf(await here.run(env, victim));
    assert.equal(copy.startsWith(`${own}/lovage/`), true);
    const mark = copy.slice(copy.lastIndexOf("/") + 1);
    await Deno.remove(own, { recursive: true });
    const trap = `'#!/bin/sh\necho trapped\n#${"x".repeat(PROGRAM.length - 25)}\n'`;
    const copyInto = (at: string) =>
      `mkdir -p '${at}' && printf '%s' ${trap} > '${at}/deno' && printf '// one' > '${at}/main.js' && ` +
      `: > '${at}/empty-1.js' && chmod -R a+rX '${at}' && chmod 755 '${at}/deno'`;
    const traps: [string, string, string | undefined][] = [
      ["their folder", copyInto(`${own}/lovage/${mark}`), "65534"],
      ["their folder, open to all", `${copyInto(`${own}/lovage/${mark}`)}; chmod -R 777 '${own}'`, "65534"],
      ["their folder, empty and open", `mkdir -m 777 '${own}'`, "65534"],
      ["their folder within ours", `mkdir -m 1777 '${own}' && chown 1 '${own}'`, undefined],
      [
        "a link to theirs",
        `${copyInto(`${folder}/tmp/x/${mark}`)}; ln -s '${folder}/tmp/x' '${own}'`,
        "65534",
      ],
      [
        "ours, open to all",
        `${copyInto(`${own}/lovage/${mark}`)}; chown -R 1 '${own}'; chmod 777 '${own}'`,
        undefined,
      ],
      [
        "ours, open to its group",
        `${copyInto(`${own}/lovage/${mark}`)}; chown -R 1 '${own}'; chmod 775 '${own}/lovage'`,
        undefined,
      ],
      [
        "their file in ours",
        `${copyInto(`${own}/lovage/${mark}`)}; chown -R 1 '${own}'; chown 65534 '${own}/lovage/${mark}/deno'`,
        undefined,
      ],
    ];
    for (const [what, script, user] of traps) {
      await here.sh(script, user);
      const run = await here.run(env, victim);
      assert.ok(!run.out.includes("trapped"), `${what} was run`);
      assert.equal(run.code, 0, `${what}: ${run.err}`);
      await here.sh(`rm -rf '${own}' '${folder}/tmp/x' /var/tmp/lovage-1`);
    }
    // A folder above that others may write is no place either, nor one of another user's.
    Deno.mkdirSync(`${folder}/open`);
    await here.sh(
      `chmod 777 '${folder}/open'; mkdir '${folder}/open/cache' '${folder}/theirs'; ` +
        `chown 1 '${folder}/open/cache'; chown 65534 '${folder}/theirs'; chmod 755 '${folder}/theirs'`,
    );
    for (const cache of [`${folder}/open/cache`, `${folder}/theirs`]) {
      const { out } = await here.run({ ...env, LOVAGE_CACHE: cache }, victim);
      assert.match(out[0]!, new RegExp(`^${RegExp.escape(own)}/`));
    }
    // Root is no exception: with another's home it keeps out of it.
    const root = copyOf(await here.run({ TMPDIR: `${folder}/tmp`, HOME: `${folder}/theirs` }));
    assert.match(root, new RegExp(`^${RegExp.escape(folder)}/tmp/lovage-0/`));
    assert.deepEqual([...Deno.readDirSync(`${folder}/theirs`)], []);
    await here.sh("rm -rf /var/tmp/lovage-1");
  },
});

Deno.test({
  name: "stub: two users of one LOVAGE_CACHE, a copy that root made, and no place at all",
  ignore: !isRoot,
  fn: async () => {
    await using here = await place();
    const { folder } = here;
    await here.sh(`mkdir -p shared/lovage && chmod 1777 shared shared/lovage`);
    const env = { LOVAGE_CACHE: `${folder}/shared`, TMPDIR: `${folder}/tmp`, HOME: "/nonexistent" };
    assert.match(copyOf(await here.run(env, { user: "1" })), /\/shared\/lovage\//);
    assert.match(copyOf(await here.run(env, { user: "2" })), /\/tmp\/lovage-2\/lovage\//);
    await here.sh(`rm -rf shared; mkdir shared`);
    const made = copyOf(await here.run(env));
    await here.sh(
      `chmod 755 shared shared/lovage '${made}' && chmod a+r '${made}'/* && chmod a+x '${made}/deno'`,
    );
    assert.equal(copyOf(await here.run(env, { user: "1" })), made);
    const script =
      `mount -t tmpfs -o ro,noexec none /var/tmp && exec setpriv --reuid 3 --regid 3 --clear-groups '${here.file}'`;
    const { code, err } = await runProgram(["unshare", "-m", "sh", "-c", script], {
      env: { PATH: "/usr/bin:/bin", TMPDIR: "/proc", HOME: "/nonexistent" },
      clearEnv: true,
    });
    assert.equal(code, 73, err);
    assert.match(err, /^Error: Cannot unpack the program: "\/proc\/lovage-3\/lovage" .*LOVAGE_CACHE\n$/);
  },
});

Deno.test({
  name: "stub: a file system that forbids programs is passed over",
  ignore: !isRoot,
  fn: async () => {
    await using here = await place();
    const { folder } = here;
    const script = `mount -t tmpfs -o noexec none '${folder}/home #?*' && exec '${here.file}'`;
    const { code, out, err } = await runProgram(["unshare", "-m", "sh", "-c", script], {
      env: { PATH: "/usr/bin:/bin", TMPDIR: `${folder}/tmp`, HOME: `${folder}/home #?*` },
      clearEnv: true,
    });
    assert.equal(code, 0, err);
    assert.match(out, new RegExp(`^${RegExp.escape(folder)}/tmp/lovage-0/`));
  },
});
