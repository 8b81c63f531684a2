/**
 * From a folder of releases, served as it is, to a program that runs: install.sh with curl and with wget, then `lovage
 * upgrade` to the next version, and what both refuse. The runtime in the archives is that of the tests.
 */

import assert from "node:assert/strict";
import { packFolder } from "../../.ci/pack.ts";
import { readStub, ROOT, thisPlatform } from "../../.ci/program.ts";
import { finishRelease, makeArchive, makeShare } from "../../.ci/release.ts";
import { VERSION } from "../../lib/base/mod.ts";
import { makeVersion, stagedForTests } from "../support/packed.ts";
import { Program } from "../support/programs.ts";
import { temporaryFolder } from "../support/temporary.ts";
import { type Finished, runProgram } from "../support/run.ts";

const NEXT = "97.1.0";
const folder = temporaryFolder();
const release = `${folder}/release`;
const home = `${folder}/home é #?`;
const platform = thisPlatform().name;
for (const path of [release, home, `${folder}/next`]) Deno.mkdirSync(path);

{
  await using staged = await stagedForTests();
  const share = `${folder}/share`;
  await makeShare(share, "licences\n");
  for (const [at, version] of [[release, VERSION], [`${folder}/next`, NEXT]] as const) {
    await makeVersion(staged.folder, version);
    const program = `${folder}/lovage-${version}`;
    await packFolder(staged.folder, { stub: await readStub(), target: program });
    await makeArchive(at, { platform, program, share, version });
  }
  await finishRelease(release, "");
}

/** Serves the folder while `use` runs. */
async function serving(use: (url: string) => Promise<void>): Promise<void> {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    try {
      return new Response(await Deno.readFile(`${release}/${request.url.split("/").slice(3).join("/")}`));
    } catch {
      return new Response("", { status: 404 });
    }
  });
  try {
    await use(`http://127.0.0.1:${server.addr.port}`);
  } finally {
    await server.shutdown();
  }
}

function run(program: string, args: readonly string[], env: Record<string, string>): Promise<Finished> {
  return runProgram([program, ...args], {
    env: { PATH: "/usr/bin:/bin", HOME: home, NO_COLOR: "1", ...env },
    clearEnv: true,
    cwd: folder,
  });
}

function install(env: Record<string, string>, ...args: string[]): Promise<Finished> {
  return run("/bin/sh", [`${ROOT}/install.sh`, ...args], env);
}

/** A folder with just these programs, for PATH. */
function tools(name: string, ...programs: string[]): string {
  const path = `${folder}/${name}`;
  Deno.mkdirSync(path);
  for (const program of programs) Deno.symlinkSync(`/usr/bin/${program}`, `${path}/${program}`);
  return path;
}

const BASICS = [
  "mktemp",
  "rm",
  "tail",
  "grep",
  "awk",
  "tar",
  "gzip",
  "mkdir",
  "find",
  "cp",
  "mv",
  "sha256sum",
];
const STUB_NEEDS = ["sh", "stat", "readlink", "id", "touch", "uname"];

Deno.test("install.sh: installs below ~/.local with curl, elsewhere with wget, and removes it again", async () => {
  await serving(async (url) => {
    const { code, out, err } = await install({ LOVAGE_BASE_URL: url });
    assert.equal(code, 0, err);
    const program = `${home}/.local/bin/lovage`;
    assert.match(out, new RegExp(`^Fetching ${url}/lovage-${VERSION}-${platform}\\.tar\\.gz$`, "m"));
    assert.ok(out.includes(`Installed ${VERSION} (lovage) as ${program}, with manual pages`), out);
    assert.ok(out.includes(`export PATH="${home}/.local/bin:$PATH"`), out);
    assert.equal((await run(program, ["--version"], {})).out, `${VERSION} (lovage)\n`);
    const facts = JSON.parse((await run(program, ["version", "--json"], {})).out);
    assert.deepEqual([facts.form, facts.program], ["packed", program]);
    for (
      const file of ["man/man1/lovage-worker.1", "zsh/site-functions/_lovage", "doc/lovage/lovage.cdx.json"]
    ) {
      assert.ok(Deno.statSync(`${home}/.local/share/${file}`).isFile, file);
    }
    const own = `${folder}/own`;
    const withWget = await install({
      LOVAGE_BASE_URL: `${url}/`,
      LOVAGE_INSTALL: "own",
      VERSION: `v${VERSION}`,
      PATH: `${tools("wget-only", "wget", ...BASICS, ...STUB_NEEDS)}:${own}/bin`,
    });
    assert.deepEqual([withWget.code, withWget.err], [0, ""]);
    assert.ok(!withWget.out.includes("export PATH"), withWget.out);
    assert.equal((await run(`${own}/bin/lovage`, ["--version"], {})).code, 0);
    assert.match((await install({ LOVAGE_INSTALL: own }, "--uninstall")).out, /^Removed Lovage from .*own\./);
    const left = [...Deno.readDirSync(`${own}/bin`), ...Deno.readDirSync(`${own}/share/man/man1`)];
    assert.deepEqual(left, []);
  });
});

Deno.test("install.sh: refuses, in a line each, what it cannot do", async () => {
  await serving(async (url) => {
    const uname = `${folder}/other-system`;
    Deno.mkdirSync(uname);
    const system = (name: string) => Deno.writeTextFileSync(`${uname}/uname`, `#!/bin/sh\necho ${name}\n`);
    system("Plan9");
    Deno.chmodSync(`${uname}/uname`, 0o755);
    const PATH = `${uname}:/usr/bin:/bin`;
    const at = { LOVAGE_BASE_URL: url, LOVAGE_INSTALL: `${folder}/refused` };
    const line = async (env: Record<string, string>, ...args: string[]) => {
      const { code, err } = await install(env, ...args);
      assert.equal(code, 1);
      return err;
    };
    assert.equal(await line({ ...at, PATH }), "Error: There is no build for Plan9\n");
    assert.equal(
      await line({ ...at, VERSION: "9.9.9" }),
      `Error: ${url} has no version 9.9.9 for ${platform}\n`,
    );
    assert.match(await line({ ...at, LOVAGE_BASE_URL: "" }), /^Error: Set LOVAGE_BASE_URL /);
    assert.match(
      await line({ ...at, LOVAGE_BASE_URL: `${url}/no` }),
      /^Error: Cannot fetch .*SHA256SUMS: .*404/,
    );
    assert.match(
      await line({ ...at, LOVAGE_INSTALL: "/proc/none" }),
      /^Error: Cannot write to \/proc\/none\/bin: set LOVAGE_INSTALL/,
    );
    const bare = tools("no-curl", ...BASICS, ...STUB_NEEDS);
    assert.equal(await line({ ...at, PATH: bare }), "Error: Cannot fetch anything: install curl or wget\n");
    assert.equal(await line(at, "--uninstall"), `Error: Lovage is not installed in ${folder}/refused\n`);
    assert.match(await line(at, "--remove"), /^Error: Unknown option --remove/);
    assert.throws(() => Deno.statSync(`${folder}/refused`), Deno.errors.NotFound);
  });
});

Deno.test("upgrade: to the next version, while a worker of this one runs", async () => {
  await serving(async (url) => {
    const prefix = `${folder}/upgraded`;
    const program = `${prefix}/bin/lovage`;
    const env = { LOVAGE_BASE_URL: url, LOVAGE_INSTALL: prefix, LOVAGE_HOME: `${folder}/state`, HOME: home };
    assert.equal((await install(env)).code, 0);
    const check = await run(program, ["upgrade", "--check"], env);
    assert.deepEqual([check.code, check.out], [0, `This is the newest version, ${VERSION}\n`]);
    const nowhere = await run(program, ["upgrade", "--check"], { ...env, LOVAGE_BASE_URL: "releases" });
    assert.match(nowhere.err, /^Error: Cannot upgrade from "releases": LOVAGE_BASE_URL must be a URL /);
    assert.equal(nowhere.code, 64);

    const archive = `lovage-${NEXT}-${platform}.tar.gz`;
    Deno.copyFileSync(`${folder}/next/${archive}`, `${release}/${archive}`);
    await finishRelease(release, "");
    const facts = JSON.parse((await run(program, ["upgrade", "--check", "--json"], env)).out);
    assert.deepEqual(facts, { current: VERSION, found: NEXT, isNewer: true, url: `${url}/${archive}` });

    const tasks = `${folder}/tasks.ts`;
    Deno.writeTextFileSync(
      tasks,
      `import { App } from "lovage";
export const app = new App("t");
export const add = app.task("t.add", (x: number, y: number) => x + y);
`,
    );
    await using worker = new Program(
      [program, "-A", tasks, "worker", "-P", "solo", "-l", "INFO"],
      { PATH: "/usr/bin:/bin", ...env },
    );
    await worker.says(/ ready\./);

    const good = Deno.readFileSync(`${release}/${archive}`);
    Deno.writeFileSync(`${release}/${archive}`, good.with(good.length - 9, good.at(-9)! ^ 1));
    const refused = await run(program, ["upgrade"], env);
    assert.equal(refused.code, 1);
    assert.match(
      refused.err,
      /Error: Cannot use .*: its checksum is \w+, but SHA256SUMS says \w+; nothing was changed/,
    );
    const tampered = await install(env);
    assert.match(tampered.err, /^Error: The sum of .* nothing was installed\n$/);
    assert.equal((await run(program, ["--version"], env)).out, `${VERSION} (lovage)\n`);
    Deno.writeFileSync(`${release}/${archive}`, good);

    Deno.writeTextFileSync(`${prefix}/share/man/man1/lovage.1`, "old");
    const upgraded = await run(program, ["upgrade"], env);
    assert.equal(upgraded.code, 0, upgraded.err);
    assert.match(upgraded.out, new RegExp(`^Upgraded .* from ${VERSION} to ${NEXT}\\.`));
    assert.equal((await run(program, ["--version"], env)).out, `${NEXT} (lovage)\n`);
    assert.match(Deno.readTextFileSync(`${prefix}/share/man/man1/lovage.1`), /^\.TH LOVAGE 1 /m);
    const sum = await run(program, ["-A", tasks, "call", "--wait", "t.add", "-a", "[2, 3]"], env);
    assert.equal(sum.out, "5\n", sum.err + worker.text);
    assert.equal(await worker.stop(), 0, worker.text);

    const back = await run(program, ["upgrade", VERSION], env);
    assert.match(back.out, new RegExp(`^Upgraded .* from ${NEXT} to ${VERSION}\\.`));
    const none = await run(program, ["upgrade", "1.2.3"], env);
    assert.deepEqual([none.code, none.err], [
      1,
      `Error: Cannot upgrade: ${url} has no version 1.2.3 for ${platform}\n`,
    ]);

    const npm = `${folder}/node_modules/lovage/bin/lovage`;
    Deno.mkdirSync(npm.slice(0, npm.lastIndexOf("/")), { recursive: true });
    Deno.copyFileSync(program, npm);
    const managed = await run(npm, ["upgrade"], env);
    assert.deepEqual([managed.code, managed.err], [
      64,
      `Error: Cannot upgrade: "${npm}" was installed by npm: npm install lovage@latest upgrades it\n`,
    ]);
  });
});

Deno.test("release: the list of parts names every package with its hash, and the runtime", () => {
  const bom = JSON.parse(Deno.readTextFileSync(`${folder}/share/doc/lovage/lovage.cdx.json`));
  assert.deepEqual([bom.bomFormat, bom.metadata.component.version], ["CycloneDX", VERSION]);
  const { components } = bom as { components: { name: string; hashes?: { content: string }[] }[] };
  for (const { name, hashes } of components) {
    if (!["deno", "v8", "typescript"].includes(name)) {
      assert.match(hashes![0]!.content, /^[0-9a-f]{128}$/, name);
    }
  }
  for (const name of ["hono", "cbor-x", "deno"]) assert.ok(components.some((one) => one.name === name), name);
});
