/** Temporary files and folders: of one block, or of a whole test file, removed after its last test. */

const made: string[] = [];

/** Makes a temporary folder for one block: `await using folder = await disposableFolder()`. */
export async function disposableFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir({ prefix: "lovage-test-" });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

/** Makes a temporary folder for the whole file. */
export function temporaryFolder(): string {
  return kept(Deno.makeTempDirSync({ prefix: "lovage-test-" }));
}

/** Makes an empty temporary file for the whole file of tests. */
export function temporaryFile(): string {
  return kept(Deno.makeTempFileSync({ prefix: "lovage-test-" }));
}

/** True if anything is at a path. */
export function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

function kept(path: string): string {
  if (made.length === 0) globalThis.addEventListener("unload", removeAll);
  made.push(path);
  return path;
}

function removeAll(): void {
  for (const path of made.splice(0)) {
    try {
      Deno.removeSync(path, { recursive: true });
    } catch {
      // A test has removed it already.
    }
  }
}
