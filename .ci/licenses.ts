/** The licences of the parts of the packed file and the npm package: bundled packages and the runtime. */

import { filePath } from "../lib/base/mod.ts";
import { type Package, packagesOf } from "./packages.ts";

const root = filePath(new URL("..", import.meta.url)).replace(/\/$/, "");
/** Names of licence files in packages. */
const LICENSE = /^(licen[cs]e|copying|notice)([.-].*)?$/i;

/**
 * Returns one text: this program's licence, the runtime's if it is included, then name, version and licence
 * of each package that the entry needs. Rejects if a package has no licence.
 */
export async function thirdPartyLicenses(entry: string, options: { hasRuntime: boolean }): Promise<string> {
  const texts = [`Lovage\n\n${await Deno.readTextFile(`${root}/LICENSE`)}`];
  if (options.hasRuntime) texts.push(await runtimeLicense());
  for (const { name, version, localPath } of await packagesOf(entry)) {
    texts.push(`${name} ${version}\n\n${await licenseOf(localPath)}`);
  }
  return texts.map((text) => text.trim()).join(`\n\n${"-".repeat(80)}\n\n`) + "\n";
}

/** Returns the licence that a package's description names; null if it names none. */
export async function licenseName({ localPath }: Package): Promise<string | null> {
  const { license } = JSON.parse(await Deno.readTextFile(`${localPath}/package.json`));
  return (typeof license === "string" ? license : license?.type) ?? null;
}

async function licenseOf(folder: string): Promise<string> {
  const { license, author } = JSON.parse(await Deno.readTextFile(`${folder}/package.json`));
  const said = typeof license === "string" ? license : license?.type;
  const files = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => LICENSE.test(name))
    .sort();
  const texts = await Promise.all(files.map((name) => Deno.readTextFile(`${folder}/${name}`)));
  if (said === undefined && texts.length === 0) throw new Error(`${folder} has no licence`);
  const who = typeof author === "string" ? author : author?.name;
  return [`Licence: ${said ?? "see below"}${who ? `, by ${who}` : ""}`, ...texts].join("\n\n");
}

/** Returns the licence of the runtime, from the npm package next to it. */
async function runtimeLicense(): Promise<string> {
  const beside = (await Deno.realPath(Deno.execPath())).replace(/@deno\/[^/]*\/deno$/, "deno/LICENSE");
  const text = await Deno.readTextFile(beside).catch(() => "");
  return `Deno ${Deno.version.deno}, with V8 ${Deno.version.v8} and TypeScript ${Deno.version.typescript}\n
Licence: MIT (Deno), BSD-3-Clause (V8), Apache-2.0 (TypeScript); of their parts see
https://github.com/denoland/deno/tree/v${Deno.version.deno}\n\n${text}`;
}
