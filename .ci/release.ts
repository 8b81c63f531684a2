/**
 * `make release`: builds the files of a release in dist/release: an archive for each platform, the Debian
 * package, install.sh, the list of parts (SBOM), and SHA256SUMS.
 *
 * Each platform is compiled if the runtime's base is available, else packed if it is Linux. Platforms that
 * cannot be built here are reported and left out. The same commit and runtime give the same archives.
 * LOVAGE_BASE_URL is the address at which the folder will be served: install.sh and `lovage upgrade` of this
 * version look there by default. LOVAGE_PLATFORMS="linux-x64 linux-arm64" builds only these.
 */

import { run, write } from "./commands.ts";
import { VERSION } from "../lib/base/mod.ts";
import { allFacts } from "../lib/cli/facts.ts";
import { bashCompletions } from "../lib/cli/completions_bash.ts";
import { fishCompletions } from "../lib/cli/completions_fish.ts";
import { zshCompletions } from "../lib/cli/completions_zsh.ts";
import { makeMan } from "./man.ts";
import { buildProgram, type Platform, ROOT, stagedProgram, wantedPlatforms } from "./program.ts";
import { makeSbom } from "./sbom.ts";

/** Makes the files below `share` of an archive, in a folder that all archives use. */
export async function makeShare(share: string, licenses: string): Promise<void> {
  await makeMan(`${share}/man/man1`);
  const facts = await allFacts();
  await write(`${share}/bash-completion/completions/lovage`, bashCompletions(facts));
  await write(`${share}/zsh/site-functions/_lovage`, zshCompletions(facts));
  await write(`${share}/fish/vendor_completions.d/lovage.fish`, fishCompletions(facts));
  for (const name of ["README.md", "CHANGELOG.md", "LICENSE"]) {
    await write(`${share}/doc/lovage/${name}`, await Deno.readTextFile(`${ROOT}/${name}`));
  }
  await write(`${share}/doc/lovage/LICENSES.txt`, licenses);
  await write(`${share}/doc/lovage/lovage.cdx.json`, await makeSbom());
}

/** Makes the archive of a platform in `folder` from a built program and a `share`. Returns its name. */
export async function makeArchive(
  folder: string,
  { platform, program, share, version = VERSION }: {
    readonly platform: string;
    readonly program: string;
    readonly share: string;
    readonly version?: string;
  },
): Promise<string> {
  const name = `lovage-${version}-${platform}`;
  const stage = await Deno.makeTempDir({ prefix: "lovage-archive-" });
  try {
    await Deno.mkdir(`${stage}/${name}/bin`, { recursive: true });
    const file = `${stage}/${name}/bin/lovage${platform.startsWith("windows") ? ".exe" : ""}`;
    await Deno.copyFile(program, file);
    await Deno.chmod(file, 0o755);
    await run("cp", ["-r", share, `${stage}/${name}/share`]);
    await run("tar", [
      ...["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--mode=u=rwX,go=rX", "--format=ustar"],
      ...["-C", stage, "-I", "gzip -6n", "-cf", `${folder}/${name}.tar.gz`, name],
    ]);
  } finally {
    await Deno.remove(stage, { recursive: true });
  }
  return `${name}.tar.gz`;
}

/** Writes install.sh with `baseUrl`, and SHA256SUMS of all files in a folder. */
export async function finishRelease(folder: string, baseUrl: string): Promise<void> {
  const installer = await Deno.readTextFile(`${ROOT}/install.sh`);
  await Deno.writeTextFile(`${folder}/install.sh`, installer.replace("@BASE_URL@", baseUrl), { mode: 0o755 });
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => name !== "SHA256SUMS");
  const lines = names.sort().map(async (name) => {
    const digest = await crypto.subtle.digest("SHA-256", await Deno.readFile(`${folder}/${name}`));
    return `${new Uint8Array(digest).toHex()}  ${name}\n`;
  });
  await Deno.writeTextFile(`${folder}/SHA256SUMS`, (await Promise.all(lines)).join(""));
}

async function release(folder: string, platforms: readonly Platform[]): Promise<void> {
  await Deno.remove(folder, { recursive: true }).catch(() => {});
  await Deno.mkdir(folder, { recursive: true });
  const stage = await Deno.makeTempDir({ prefix: "lovage-release-" });
  try {
    await using staged = await stagedProgram();
    const share = `${stage}/share`;
    await makeShare(share, await Deno.readTextFile(`${staged.folder}/LICENSES.txt`));
    await Deno.copyFile(`${share}/doc/lovage/lovage.cdx.json`, `${folder}/lovage-${VERSION}.cdx.json`);
    for (const platform of platforms) {
      const program = `${stage}/lovage-${platform.name}`;
      const built = await buildProgram(staged.folder, { output: program, platform });
      if ("reason" in built) {
        console.log(`${platform.name}: not built: ${built.reason}`);
        continue;
      }
      const name = await makeArchive(folder, { platform: platform.name, program, share });
      const { size } = await Deno.stat(`${folder}/${name}`);
      console.log(`dist/release/${name}: ${built.how}, ${(size / 2 ** 20).toFixed(0)} MiB`);
      await Deno.remove(program);
    }
    await finishRelease(folder, Deno.env.get("LOVAGE_BASE_URL") ?? "");
  } finally {
    await Deno.remove(stage, { recursive: true });
  }
}

if (import.meta.main) {
  await release(`${ROOT}/dist/release`, wantedPlatforms());
}
