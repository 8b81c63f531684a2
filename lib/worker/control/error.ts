/** Errors of remote commands under their Python names. */

/** An error with the name of a Python exception: replies show `ValueError('…')`. */
export class PythonError extends Error {
  /** The exception's arguments. */
  readonly args: readonly unknown[];

  constructor(name: string, ...args: unknown[]) {
    super(args.length === 0 ? name : String(args[0]));
    this.name = name;
    this.args = args;
  }
}

/** Throws Python's TypeError if arguments of a command are missing. */
export function demand(
  args: Readonly<Record<string, unknown>>,
  command: string,
  names: readonly string[],
): void {
  const missing = names.filter((name) => args[name] === undefined).map((name) => `'${name}'`);
  if (missing.length === 0) return;
  const last = missing.pop()!;
  const list = missing.length === 0
    ? last
    : `${missing.join(", ")}${missing.length > 1 ? "," : ""} and ${last}`;
  const count = missing.length + 1;
  throw new PythonError(
    "TypeError",
    `${command}() missing ${count} required positional argument${count > 1 ? "s" : ""}: ${list}`,
  );
}
