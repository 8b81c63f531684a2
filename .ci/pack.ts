/**
 * Makes the self-extracting file: a shell stub, followed by a tar archive of one flat folder.
 *
 * The stub names the unpacked copy by the archive's content, and detects a broken copy by the names and sizes
 * of its files.
 */

/**
 * Placeholder in the stub for a number with this many characters, so that the stub's length does not depend
 * on it.
 */
const OFFSET = "@OFFSET@";

/**
 * Packs the files of `folder`, which must have no subfolders, after `stub` into the executable file `target`.
 */
export async function packFolder(folder: string, options: { stub: string; target: string }): Promise<void> {
  const { target } = options;
  const files = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
  for (const name of files) {
    if (!/^[\w.@-]+$/.test(name)) throw new Error(`The stub cannot name the file "${name}"`);
  }
  const sizes = files.map((name) => Deno.statSync(`${folder}/${name}`).size);
  const payload = await archive(folder, files);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", payload));
  const mark = [...digest.slice(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const stub = options.stub.replaceAll("@MARK@", mark)
    .replace("@NAMES@", files.join(" "))
    .replace("@SIZES@", sizes.join(" "));
  const { length } = new TextEncoder().encode(stub);
  const head = new TextEncoder().encode(stub.replace(OFFSET, String(length + 1).padEnd(OFFSET.length)));
  const file = new Uint8Array(head.length + payload.length);
  file.set(head);
  file.set(payload, head.length);
  await Deno.writeFile(`${target}.new`, file, { mode: 0o755 });
  await Deno.chmod(`${target}.new`, 0o755);
  await Deno.rename(`${target}.new`, target);
}

/** Makes a compressed archive; the same files give the same bytes. */
async function archive(folder: string, files: readonly string[]): Promise<Uint8Array<ArrayBuffer>> {
  const { success, stdout, stderr } = await new Deno.Command("tar", {
    args: [
      "--sort=name",
      "--mtime=@0",
      "--owner=0",
      "--group=0",
      "-C",
      folder,
      "-I",
      "gzip -6n",
      "-cf",
      "-",
      ...files,
    ],
  }).output();
  if (!success) throw new Error(`tar failed: ${new TextDecoder().decode(stderr)}`);
  return stdout as Uint8Array<ArrayBuffer>;
}
