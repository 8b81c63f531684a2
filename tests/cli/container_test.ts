/**
 * The image of packaging/Containerfile, without a container engine: its steps are done in changed roots over this Debian,
 * then its program runs as its user with a root that cannot be written. Needs root, and may mount. Nothing is fetched: the
 * step that installs packages of Debian is passed over.
 */

import assert from "node:assert/strict";
import { packFolder } from "../../.ci/pack.ts";
import { readStub, ROOT, thisPlatform } from "../../.ci/program.ts";
import { finishRelease, makeArchive } from "../../.ci/release.ts";
import { VERSION } from "../../lib/base/mod.ts";
import { stagedForTests } from "../support/packed.ts";
import { runProgram } from "../support/run.ts";
import { temporaryFolder } from "../support/temporary.ts";

const folder = temporaryFolder();
const release = `${folder}/release`;
for (const path of [release, `${folder}/share`]) Deno.mkdirSync(path);
{
  await using staged = await stagedForTests();
  await packFolder(staged.folder, { stub: await readStub(), target: `${folder}/lovage` });
  const of = { platform: thisPlatform().name, program: `${folder}/lovage`, share: `${folder}/share` };
  await makeArchive(release, of);
  await finishRelease(release, "");
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** The steps of the file, as a script for a shell in a mount namespace of its own. */
function scriptOf(containerfile: string): string {
  const steps = [
    `set -eu`,
    `base=${quoted(`${folder}/image`)}`,
    `mkdir "$base"; mount -t tmpfs tmpfs "$base"`,
  ];
  const env: string[] = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];
  const stages = new Map<string, number>();
  let stage = 0;
  let user = "";
  const inside = () => `env -i ${env.join(" ")} chroot ${user} "$base/root${stage}"`;
  const lines = containerfile.replaceAll(/^#.*\n/gm, "").replaceAll("\\\n", " ").trim().split("\n");
  for (const line of lines.filter(Boolean)) {
    const [, name, rest] = /^(\w+) +(.*)$/.exec(line)! as unknown as [string, string, string];
    if (name === "FROM") {
      stages.set(/ AS (\w+)$/.exec(rest)?.[1] ?? "", ++stage);
      const [upper, work, root] = ["upper", "work", "root"].map((one) => `"$base/${one}${stage}"`);
      steps.push(
        `mkdir ${upper} ${work} ${root}`,
        `mount -t overlay overlay -o lowerdir=/,upperdir=${upper},workdir=${work} ${root}`,
        `mount --rbind /proc ${root}/proc; mount --rbind /dev ${root}/dev; mount -t tmpfs tmpfs ${root}/tmp`,
        // The runtime that the release leads to, if it lies in what is hidden now.
        `runtime=${root}${quoted(Deno.execPath())}`,
        `if ! [ -e "$runtime" ]; then mkdir -p "\${runtime%/*}"; touch "$runtime"; ` +
          `mount --bind ${quoted(Deno.execPath())} "$runtime"; fi`,
      );
    } else if (name === "COPY") {
      const words = rest.split(" ");
      const from = /^--from=(\w+)$/.exec(words[0]!)?.[1];
      if (from !== undefined) words.shift();
      const target = words.pop()!;
      const source = from === undefined ? quoted(release) : `"$base/root${stages.get(from)}"`;
      if (target.endsWith("/")) steps.push(`mkdir -p "$base/root${stage}${target}"`);
      for (const word of words) steps.push(`cp ${source}/${word} "$base/root${stage}${target}"`);
    } else if (name === "RUN") {
      if (!rest.startsWith("apt-get ")) steps.push(`${inside()} sh -c ${quoted(rest)} 2>&1`);
    } else if (name === "ENV") env.push(...rest.split(" "));
    else if (name === "USER") user = `--userspec=${rest}`;
    else if (name === "WORKDIR") {
      steps.push(`mkdir -p "$base/root${stage}${rest}"; cp "$1" "$base/root${stage}${rest}/"`);
    } else if (name === "VOLUME") {
      steps.push(
        `owner=$(stat -c %u:%g "$base/root${stage}${rest}")`,
        `mount -t tmpfs tmpfs "$base/root${stage}${rest}"; chown "$owner" "$base/root${stage}${rest}"`,
      );
    } else assert.match(name, /^(ARG|STOPSIGNAL|HEALTHCHECK|ENTRYPOINT|CMD)$/);
  }
  const check =
    `id; lovage -A /app/tasks.ts call tasks.add -a "[2, 3]"; lovage -A /app/tasks.ts worker --burst -l INFO`;
  steps.push(`mount -o remount,ro "$base/root${stage}"`, `chmod 1777 "$base/root${stage}/tmp"`);
  steps.push(`${inside()} sh -ec ${quoted(check)} 2>&1`);
  return steps.join("\n");
}

Deno.test({
  name: "container: the image's program runs as its user, and writes nothing but its volume",
  ignore: Deno.uid() !== 0,
  fn: async () => {
    const tasks = `import { App } from "lovage";
export const app = new App("tasks");
export const add = app.task("tasks.add", (x: number, y: number) => x + y);`;
    await Deno.writeTextFile(`${folder}/tasks.ts`, tasks);
    const script = scriptOf(await Deno.readTextFile(`${ROOT}/packaging/Containerfile`));
    const { code, out: said, err } = await runProgram([
      ...["unshare", "-m", "sh", "-c", script, "sh"],
      `${folder}/tasks.ts`,
    ]);
    assert.equal(code, 0, said + err);
    assert.match(said, /^lovage-.*\.tar\.gz: OK$/m);
    assert.match(said, new RegExp(`^${VERSION} \\(lovage\\)$`, "m"));
    assert.match(said, /^uid=65532\(lovage\) gid=65532\(lovage\)/m);
    assert.match(said, /Task tasks\.add\[.*\] succeeded in .*: 5$/m);
    assert.doesNotMatch(said, /warning/i);
  },
});
