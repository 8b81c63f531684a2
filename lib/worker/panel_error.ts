/** Errors of remote commands, as Python would name them. */

/** An error whose type has a name of Python's: replies show `ValueError('…')`. */
export class PythonError extends Error {
  /** The exception's arguments. */
  readonly args: readonly unknown[];

  constructor(name: string, ...args: unknown[]) {
    super(args.length === 0 ? name : String(args[0]));
    this.name = name;
    this.args = args;
  }
}
