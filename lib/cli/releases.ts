/**
 * The release server, as install.sh uses it: a folder with SHA256SUMS and the archives that it names,
 * "lovage-VERSION-PLATFORM.tar.gz".
 */

import { DialError, errorText, OperatingError } from "../base/mod.ts";

/** Maximum size of an archive, bytes. */
const ARCHIVE_BYTES_MAX = 512 * 2 ** 20;
const SUMS_BYTES_MAX = 2 ** 20;
/** Names of operating system and processor in archive names, by Deno's names. */
const OS = { linux: "linux", darwin: "macos", windows: "windows" } as const;
const ARCH = { x86_64: "x64", aarch64: "arm64" } as const;
const BLOCK = 512;

/** An archive on the server. */
export interface Release {
  readonly version: string;
  readonly url: string;
  /** Its SHA-256, in hexadecimal digits. */
  readonly sum: string;
}

/** A file in an archive: its path below the archive's one folder. */
export interface ArchivedFile {
  readonly path: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * Finds the release of a version for this platform, or the newest if `wanted` is null; null if the server has
 * none. Rejects with DialError or OperatingError if the server cannot be asked.
 */
export async function findRelease(server: string, wanted: string | null): Promise<Release | null> {
  // GitHub has a folder for each version, and one that redirects to the newest.
  const latest = /\/releases\/latest\/download\/?$/;
  const base = wanted === null ? server : server.replace(latest, `/releases/download/v${wanted}`);
  const folder = base.replace(/\/$/, "");
  const sums = new TextDecoder().decode(await download(`${folder}/SHA256SUMS`, SUMS_BYTES_MAX));
  const end = `-${platformName()}.tar.gz`;
  let best: Release | null = null;
  for (const line of sums.split("\n")) {
    const [sum, name] = line.trim().split(/\s+\*?/);
    if (!name?.startsWith("lovage-") || !name.endsWith(end) || !/^[0-9a-f]{64}$/.test(sum!)) continue;
    const version = name.slice("lovage-".length, -end.length);
    if (wanted !== null ? version !== wanted : best !== null && !isNewer(version, best.version)) continue;
    best = { version, url: `${folder}/${name}`, sum: sum! };
  }
  return best;
}

/** Returns the platform as "linux-x64". */
export function platformName(): string {
  const { os, arch } = Deno.build;
  return `${(OS as Record<string, string>)[os] ?? os}-${ARCH[arch]}`;
}

/** Returns true if version `a` is newer than `b`; a pre-release ("1.0.0-rc.1") is older than its release. */
export function isNewer(a: string, b: string): boolean {
  const [x, y] = [a, b].map((one) => one.split(/[.-]/).slice(0, 3).map(Number)) as [number[], number[]];
  const at = x.findIndex((part, n) => part !== y[n]);
  return at >= 0 ? x[at]! > y[at]! : !a.includes("-") && b.includes("-");
}

/**
 * Downloads the files of a release. Rejects with DialError or OperatingError, the latter also for a wrong
 * checksum.
 */
export async function fetchRelease({ url, sum }: Release): Promise<ArchivedFile[]> {
  const bytes = await download(url, ARCHIVE_BYTES_MAX);
  const found = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
  if (found !== sum) {
    throw new OperatingError(
      `Cannot use ${url}: its checksum is ${found}, but SHA256SUMS says ${sum}; nothing was changed`,
    );
  }
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return filesIn(new Uint8Array(await new Response(plain).arrayBuffer()));
}

async function download(url: string, bytesMax: number): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const response = await fetch(url);
    if (!response.ok) {
      await response.body?.cancel();
      throw new OperatingError(`Cannot fetch ${url}: the server answers ${response.status}`);
    }
    const parts: Uint8Array<ArrayBuffer>[] = [];
    let size = 0;
    for await (const part of response.body ?? []) {
      size += part.length;
      if (size > bytesMax) {
        throw new OperatingError(`Cannot fetch ${url}: it has more than ${bytesMax} bytes`);
      }
      parts.push(part);
    }
    return new Uint8Array(await new Blob(parts).arrayBuffer());
  } catch (error) {
    if (error instanceof OperatingError) throw error;
    throw new DialError(`Cannot fetch ${url}: ${errorText(error)}`, { cause: error });
  }
}

/** Reads the files of a tar archive in the "ustar" format. */
function filesIn(archive: Uint8Array<ArrayBuffer>): ArchivedFile[] {
  const text = (at: number, length: number): string =>
    new TextDecoder().decode(archive.subarray(at, at + length)).replace(/\0.*$/s, "");
  const files: ArchivedFile[] = [];
  for (let at = 0; at + BLOCK <= archive.length && archive[at] !== 0;) {
    const [name, size, kind, prefix] = [
      text(at, 100),
      text(at + 124, 12),
      text(at + 156, 1),
      text(at + 345, 155),
    ];
    const length = Number.parseInt(size, 8);
    const path = (prefix === "" ? name : `${prefix}/${name}`).replace(/^[^/]+\//, "");
    at += BLOCK;
    if (kind === "0") files.push({ path, bytes: archive.subarray(at, at + length) });
    at += Math.ceil(length / BLOCK) * BLOCK;
  }
  return files;
}
