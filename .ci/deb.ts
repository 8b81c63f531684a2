/**
 * `make deb`: builds the Debian package in dist/deb with dpkg-deb, from the bundled program and
 * packaging/debian.
 *
 * The program is unpacked in /usr/lib/lovage, in a folder named by its content. So a worker that runs during
 * an upgrade finds its own copy missing, and reports that, rather than starting slots of another version.
 */

import { gitText, run, write } from "./commands.ts";
import { VERSION } from "../lib/base/mod.ts";
import { ownDeno, readStart, ROOT, stagedProgram, thisPlatform } from "./program.ts";
import { makeShare } from "./release.ts";

const SOURCE = `${ROOT}/packaging/debian`;
/** Debian's names of processors, by Node's. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };
const DOCS = "usr/share/doc/lovage";

/**
 * Builds the package of a staged program with its runtime and returns its path. `level` is the compression,
 * 0..9.
 */
export async function makeDeb(
  folder: string,
  { program, level }: { readonly program: string; readonly level: number },
): Promise<string> {
  const stage = await Deno.makeTempDir({ prefix: "lovage-deb-" });
  try {
    await Deno.chmod(stage, 0o755);
    const mark = await markOf(program);
    const home = `${stage}/usr/lib/lovage/${mark}`;
    await Deno.mkdir(`${stage}/usr/lib/lovage`, { recursive: true });
    await run("cp", ["-r", program, home]);
    const licenses = `${home}/LICENSES.txt`;
    await makeShare(`${stage}/usr/share`, await Deno.readTextFile(licenses));
    await Deno.remove(licenses);
    await arrange(stage, mark);
    await control(stage);
    await Deno.mkdir(folder, { recursive: true });
    const target = `${folder}/lovage_${VERSION}_${architecture()}.deb`;
    await run("chmod", ["-R", "u=rwX,go=rX", stage]);
    await Deno.chmod(`${stage}/etc/lovage/lovage.env`, 0o640);
    await run("dpkg-deb", ["--root-owner-group", "-Zxz", `-z${level}`, "--build", stage, target]);
    return target;
  } finally {
    await Deno.remove(stage, { recursive: true });
  }
}

/** Moves the files of a release to Debian's places, and adds the package's own files. */
async function arrange(stage: string, mark: string): Promise<void> {
  const share = `${stage}/usr/share`;
  await Deno.rename(`${share}/zsh/site-functions`, `${share}/zsh/vendor-completions`);
  await Deno.remove(`${stage}/${DOCS}/LICENSE`);
  await write(`${stage}/${DOCS}/changelog`, await changelog());
  await run("sh", ["-c", 'exec gzip -9n "$0"/man/man1/*.1 "$1"/changelog', share, `${stage}/${DOCS}`]);
  const launcher = (await Deno.readTextFile(`${SOURCE}/lovage.sh`)).replaceAll("@MARK@", mark);
  await write(`${stage}/usr/bin/lovage`, launcher + await readStart(), 0o755);
  await copy("copyright", `${stage}/${DOCS}/copyright`);
  await copy("lovage.env", `${stage}/etc/lovage/lovage.env`);
  for (const unit of ["lovage-worker@.service", "lovage-beat.service"]) {
    await copy(unit, `${stage}/lib/systemd/system/${unit}`);
  }
  await copy("lintian-overrides", `${share}/lintian/overrides/lovage`);
}

async function control(stage: string): Promise<void> {
  const sums = await run("sh", [
    "-c",
    "find lib usr -type f | LC_ALL=C sort | tr '\\n' '\\0' | xargs -0 md5sum",
  ], { cwd: stage });
  const [kib] = (await run("du", ["-sk", stage])).split("\t");
  const text = (await Deno.readTextFile(`${SOURCE}/control`)).replace("@VERSION@", VERSION)
    .replace("@ARCHITECTURE@", architecture()).replace("@SIZE@", kib!)
    .replace("@MAINTAINER@", maintainer());
  await write(`${stage}/DEBIAN/control`, text);
  await write(`${stage}/DEBIAN/md5sums`, sums);
  await write(`${stage}/DEBIAN/conffiles`, "/etc/lovage/lovage.env\n");
  for (const script of ["postinst", "prerm", "postrm"]) {
    await write(`${stage}/DEBIAN/${script}`, await Deno.readTextFile(`${SOURCE}/${script}`), 0o755);
  }
}

/** Makes a changelog in Debian's form, with the date of the last commit; it refers to the project's own. */
async function changelog(): Promise<string> {
  const date = await gitText("log", "-1", "--format=%aD") ?? "Thu, 01 Jan 1970 00:00:00 +0000";
  return `lovage (${VERSION}) stable; urgency=medium\n\n  * What changed is in CHANGELOG.md.\n\n` +
    ` -- ${maintainer()}  ${date}\n`;
}

/** The maintainer, from the variables of Debian's own tools. */
function maintainer(): string {
  const [name, address] = [Deno.env.get("DEBFULLNAME"), Deno.env.get("DEBEMAIL")];
  return `${name || "The Lovage developers"} <${address || "lovage@example.org"}>`;
}

/** Names a copy of the program by its content, as the packed file does. */
async function markOf(program: string): Promise<string> {
  const sums = await run("sh", ["-c", "LC_ALL=C; export LC_ALL; sha256sum -- * | sha256sum"], {
    cwd: program,
  });
  return sums.slice(0, 16);
}

function architecture(): string {
  return ARCHITECTURES[thisPlatform().node[1]]!;
}

function copy(name: string, path: string): Promise<void> {
  return Deno.readTextFile(`${SOURCE}/${name}`).then((text) => write(path, text));
}

if (import.meta.main) {
  await using staged = await stagedProgram();
  await Deno.copyFile(await ownDeno(), `${staged.folder}/deno`);
  await Deno.chmod(`${staged.folder}/deno`, 0o755);
  const path = await makeDeb(`${ROOT}/dist/deb`, { program: staged.folder, level: 6 });
  const { size } = await Deno.stat(path);
  console.log(`${path.slice(ROOT.length + 1)}: ${(size / 2 ** 20).toFixed(0)} MiB`);
}
