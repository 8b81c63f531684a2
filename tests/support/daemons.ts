/** Daemons that tests start: none outlives its test, however the test ends. */

/**
 * A temporary folder. At its end every process that has the folder on its command line is killed, and the
 * folder is removed.
 */
export class DaemonFolder implements AsyncDisposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** Makes a folder that any user may write. */
  static async make(): Promise<DaemonFolder> {
    const path = await Deno.makeTempDir({ prefix: "daemons-" });
    await Deno.chmod(path, 0o777);
    return new DaemonFolder(path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { name } of Deno.readDirSync("/proc")) {
      if (!/^\d+$/.test(name) || Number(name) === Deno.pid) continue;
      try {
        if (Deno.readTextFileSync(`/proc/${name}/cmdline`).includes(this.path)) {
          Deno.kill(Number(name), "SIGKILL");
        }
      } catch {
        // The process has ended meanwhile.
      }
    }
    await Deno.remove(this.path, { recursive: true });
  }
}
