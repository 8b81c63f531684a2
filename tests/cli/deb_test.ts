/**
 * The Debian package: what is in it, that systemd takes its units, and that its program runs from where it is
 * unpacked. The runtime in it is that of the tests. Its maintainer scripts change a whole system: `sh -n` reads them.
 */

import assert from "node:assert/strict";
import { makeDeb } from "../../.ci/deb.ts";
import { VERSION } from "../../lib/base/mod.ts";
import { stagedForTests } from "../support/packed.ts";
import { Program } from "../support/programs.ts";
import { temporaryFolder } from "../support/temporary.ts";
import { runProgram } from "../support/run.ts";

const folder = temporaryFolder();
const root = `${folder}/root`;
let made = "";
{
  await using staged = await stagedForTests();
  await Deno.writeTextFile(`${staged.folder}/LICENSES.txt`, "licences\n");
  made = await makeDeb(folder, { program: staged.folder, level: 1 });
}

async function run(program: string, ...args: string[]): Promise<string> {
  const { code, out, err } = await runProgram([program, ...args], {
    env: { HOME: folder, LOVAGE_HOME: `${folder}/state`, NO_COLOR: "1" },
  });
  assert.equal(code, 0, `${program} ${args.join(" ")}: ${out}${err}`);
  return out + err;
}

Deno.test("deb: the package says what it is, and holds program, units, settings, pages and completions", async () => {
  const facts = await run("dpkg-deb", "--field", made);
  assert.match(facts, new RegExp(`^Package: lovage\nVersion: ${VERSION}\nArchitecture: (amd64|arm64)$`, "m"));
  await run("dpkg-deb", "-R", made, root);
  assert.equal(await Deno.readTextFile(`${root}/DEBIAN/conffiles`), "/etc/lovage/lovage.env\n");
  for (const script of ["postinst", "prerm", "postrm"]) await run("sh", "-n", `${root}/DEBIAN/${script}`);
  for (
    const path of [
      "lib/systemd/system/lovage-worker@.service",
      "lib/systemd/system/lovage-beat.service",
      "usr/share/man/man1/lovage-worker.1.gz",
      "usr/share/bash-completion/completions/lovage",
      "usr/share/zsh/vendor-completions/_lovage",
      "usr/share/fish/vendor_completions.d/lovage.fish",
      "usr/share/doc/lovage/copyright",
      "usr/share/doc/lovage/LICENSES.txt",
      "usr/share/doc/lovage/changelog.gz",
    ]
  ) {
    assert.ok(Deno.statSync(`${root}/${path}`).isFile, path);
  }
  // A broker's password may stand in it.
  assert.equal(Deno.statSync(`${root}/etc/lovage/lovage.env`).mode! & 0o777, 0o640);
  const owners = await run("dpkg-deb", "-c", made);
  assert.ok(owners.trim().split("\n").every((line) => / root\/root /.test(line)), "all of it is root's");
});

Deno.test("deb: systemd takes the units", async () => {
  const units = ["lovage-worker@first.service", "lovage-beat.service"];
  const at = `${folder}/units`;
  Deno.mkdirSync(at);
  for (const unit of units) {
    const source = `${root}/lib/systemd/system/${unit.replace("first", "")}`;
    // Here there are neither the program at its place nor its user.
    const text = Deno.readTextFileSync(source).replaceAll("/usr/bin/lovage", "/bin/true")
      .replace(/^(User|Group|Documentation)=.*\n/gm, "");
    Deno.writeTextFileSync(`${at}/${unit}`, text);
  }
  const said = await run("systemd-analyze", "verify", "--man=no", ...units.map((unit) => `${at}/${unit}`));
  assert.doesNotMatch(said, /lovage/);
});

Deno.test("deb: the program runs unpacked, a pool's slots too", async () => {
  const program = `${root}/usr/bin/lovage`;
  assert.equal(await run(program, "--version"), `${VERSION} (lovage)\n`);
  const facts = JSON.parse(await run(program, "version", "--json"));
  assert.deepEqual([facts.form, facts.program], ["packed", program]);
  const tasks = `${folder}/tasks.ts`;
  await Deno.writeTextFile(
    tasks,
    `import { App } from "lovage";
export const app = new App("t");
export const add = app.task("t.add", (x: number, y: number) => x + y);
`,
  );
  const env = { PATH: "/usr/bin:/bin", HOME: folder, LOVAGE_HOME: `${folder}/state` };
  await using worker = new Program([program, "-A", tasks, "worker", "-c", "1", "-l", "INFO"], env);
  await worker.says(/ ready\./);
  assert.equal(await run(program, "-A", tasks, "call", "--wait", "t.add", "-a", "[2, 3]"), "5\n");
  assert.equal(await worker.stop(), 0, worker.text);
});
