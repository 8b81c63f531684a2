/**
 * The self-extracting file: a shell stub that knows what it carries, and behind it a tar archive of one flat folder.
 *
 * The stub names the copy that it unpacks by the archive's content, and tells a whole copy from a broken one by the
 * names and sizes of its files.
 */

/** Stands in the stub for a number of this many characters, so that its own length does not depend on the number. */
const OFFSET = "@OFFSET@";

/** Packs the files of `folder`, none of which may be a folder, behind `stub` into the executable file `target`. */
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

/** A compressed archive, the same for the same files. */
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
