/** Runs programs to their end and returns their output. */

/** The result of a finished program. */
export interface Finished {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Options of a program. */
export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  readonly clearEnv?: boolean;
  /** Its standard input; default none. */
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

/** Runs a program that must succeed, and returns its output. */
export async function mustRun(argv: readonly string[], options?: RunOptions): Promise<string> {
  const { code, out, err } = await runProgram(argv, options);
  if (code !== 0) throw new Error(`${argv.join(" ")} ended with ${code}:\n${out}${err}`);
  return out;
}
