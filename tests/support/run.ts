/** Programs that run to their end, with what they print. */

/** What a finished program left. */
export interface Finished {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** How a program is run. */
export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  readonly clearEnv?: boolean;
  /** What it reads from standard input; nothing by default. */
  readonly input?: string;
}

/** Runs a program to its end. */
export async function runProgram(
  [program, ...args]: readonly string[],
  { input, ...options }: RunOptions = {},
): Promise<Finished> {
  const child = new Deno.Command(program!, {
    ...options,
    args,
    stdin: input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  if (input !== undefined) {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(input));
    await writer.close();
  }
  const { code, stdout, stderr } = await child.output();
  return { code, out: new TextDecoder().decode(stdout), err: new TextDecoder().decode(stderr) };
}

/** Runs a program that must succeed; what it has printed. */
export async function mustRun(argv: readonly string[], options?: RunOptions): Promise<string> {
  const { code, out, err } = await runProgram(argv, options);
  if (code !== 0) throw new Error(`${argv.join(" ")} ended with ${code}:\n${out}${err}`);
  return out;
}
