/**
 * The list of the program's parts, for vulnerability scanners: CycloneDX 1.6 as JSON. It has the packages
 * that the program needs, with the hashes of deno.lock, and the runtime.
 */

import { filePath, VERSION } from "../lib/base/mod.ts";
import { licenseName } from "./licenses.ts";
import { packagesOf } from "./packages.ts";

const root = filePath(new URL("..", import.meta.url)).replace(/\/$/, "");

/**
 * Returns the list as text; the same source gives the same text. Rejects if the packages cannot be listed.
 */
export async function makeSbom(): Promise<string> {
  const lock = JSON.parse(await Deno.readTextFile(`${root}/deno.lock`)) as {
    npm: Record<string, { integrity: string }>;
  };
  const packages = await Promise.all((await packagesOf("main.ts")).map(async (one) => {
    const { name, version } = one;
    const { integrity } = lock.npm[`${name}@${version}`] ??
      Object.entries(lock.npm).find(([id]) => id.startsWith(`${name}@${version}_`))![1];
    const license = await licenseName(one);
    return {
      type: "library",
      "bom-ref": `pkg:npm/${name.replace("@", "%40")}@${version}`,
      name,
      version,
      purl: `pkg:npm/${name.replace("@", "%40")}@${version}`,
      hashes: [{ alg: "SHA-512", content: Uint8Array.fromBase64(integrity.replace("sha512-", "")).toHex() }],
      ...license === null ? {} : { licenses: [{ expression: license }] },
    };
  }));
  const { deno, v8, typescript } = Deno.version;
  const runtime = [["deno", deno, "MIT"], ["v8", v8, "BSD-3-Clause"], [
    "typescript",
    typescript,
    "Apache-2.0",
  ]]
    .map(([name, version, license]) => ({
      type: "framework",
      "bom-ref": `runtime:${name}@${version}`,
      name,
      version,
      licenses: [{ expression: license }],
    }));
  const bom = {
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      component: {
        type: "application",
        "bom-ref": `lovage@${VERSION}`,
        name: "lovage",
        version: VERSION,
        licenses: [{ expression: "MIT" }],
      },
    },
    components: [...packages, ...runtime],
    dependencies: [{
      ref: `lovage@${VERSION}`,
      dependsOn: [...packages, ...runtime].map((one) => one["bom-ref"]),
    }],
  };
  return `${JSON.stringify(bom, null, 2)}\n`;
}
