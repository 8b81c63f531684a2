/**
 * A systemd user manager for one test: in a mount and pid namespace, with a /run and a home that end with it.
 * Needs root and systemd; `SystemdUser.start` resolves with null if it cannot run.
 */

const SCRIPT = `
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system /run/user/0 || exit 9
export XDG_RUNTIME_DIR=/run/user/0 SYSTEMCTL_SKIP_SYSV=1
/lib/systemd/systemd --user --log-target=console --log-level=err >"$HOME/systemd.log" 2>&1 &
manager=$!
for n in $(seq 100); do [ -S /run/user/0/systemd/private ] && break; sleep 0.05; done
[ -S /run/user/0/systemd/private ] || exit 9
echo "@@ up"
while read -r line; do eval "$line"; echo "@@ $?"; done
kill $manager; wait $manager
`;

/** The manager, and a shell in its namespace. */
export class SystemdUser implements AsyncDisposable {
  readonly home: string;
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<string>;
  #text = "";

  private constructor(home: string, child: Deno.ChildProcess) {
    this.home = home;
    this.#child = child;
    this.#writer = child.stdin.getWriter();
    this.#reader = child.stdout.pipeThrough(new TextDecoderStream() as never).getReader() as never;
  }

  /** Starts a manager with `env` added to our environment; null if systemd is missing or not permitted. */
  static async start(env: Record<string, string> = {}): Promise<SystemdUser | null> {
    const home = await Deno.makeTempDir({ prefix: "systemd-" });
    try {
      const child = new Deno.Command("unshare", {
        args: ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", SCRIPT],
        env: { ...env, HOME: home, XDG_CONFIG_HOME: `${home}/.config`, XDG_STATE_HOME: `${home}/.state` },
        stdin: "piped",
        stdout: "piped",
        stderr: "null",
      }).spawn();
      const manager = new SystemdUser(home, child);
      const { code } = await manager.#answer();
      if (code === 0) return manager;
      await manager[Symbol.asyncDispose]();
    } catch {
      await Deno.remove(home, { recursive: true }).catch(() => {});
    }
    return null;
  }

  /** Runs a line of shell in the namespace. */
  async sh(line: string): Promise<{ code: number; out: string }> {
    await this.#writer.write(new TextEncoder().encode(`${line} 2>&1\n`));
    return await this.#answer();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close().catch(() => {});
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 10_000);
    while (!(await this.#reader.read()).done);
    await this.#child.status;
    clearTimeout(timer);
    await Deno.remove(this.home, { recursive: true }).catch(() => {});
  }

  async #answer(): Promise<{ code: number; out: string }> {
    for (;;) {
      const match = /@@ (up|\d+)\n/.exec(this.#text);
      if (match) {
        const out = this.#text.slice(0, match.index);
        this.#text = this.#text.slice(match.index + match[0].length);
        return { code: match[1] === "up" ? 0 : Number(match[1]), out };
      }
      const { value, done } = await this.#reader.read();
      if (done) return { code: -1, out: this.#text };
      this.#text += value;
    }
  }
}
