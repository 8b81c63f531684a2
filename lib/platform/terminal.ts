/** The real terminal. */

import { errorText, shown, type Terminal } from "../base/mod.ts";
import { EXIT } from "./exit_codes.ts";

const encoder = new TextEncoder();

/** The exit status that a shell reports for a program ended by SIGPIPE. */
const BROKEN_PIPE = 141;

let isOutputNeeded = true;

/**
 * From now on drops output that cannot be written to the standard streams: a worker must not end because its
 * reader ends, its terminal closes or its disk is full.
 */
export function outliveOutput(): void {
  isOutputNeeded = false;
}

/**
 * Writes all of `text` to a stream of the process. Unless the program outlives its output, a closed pipe (`|
 * head`) ends the program quietly, and any other error, such as a full disk, with one line.
 */
function writeAll(stream: typeof Deno.stdout | typeof Deno.stderr, text: string): void {
  let bytes = encoder.encode(text);
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(stream.writeSync(bytes));
    } catch (error) {
      if (error instanceof Deno.errors.WouldBlock) continue;
      // If standard error fails, only the exit status can report errors.
      if (!isOutputNeeded || stream === Deno.stderr) return;
      if (error instanceof Deno.errors.BrokenPipe) Deno.exit(BROKEN_PIPE);
      writeAll(Deno.stderr, `Error: Cannot write to standard output: ${errorText(error)}\n`);
      Deno.exit(EXIT.FAILURE);
    }
  }
}

/** Returns a Terminal on the process's standard streams. */
export function realTerminal(): Terminal {
  return {
    out: (text) => writeAll(Deno.stdout, shown(text)),
    err: (text) => writeAll(Deno.stderr, shown(text)),
    styled: (text) => writeAll(Deno.stdout, text),
    get columns() {
      try {
        return Deno.consoleSize().columns;
      } catch {
        return 80; // not a terminal
      }
    },
    outIsTty: Deno.stdout.isTerminal(),
    inIsTty: Deno.stdin.isTerminal(),
    prompt: (question) => {
      writeAll(Deno.stdout, shown(question));
      const bytes: number[] = [];
      const one = new Uint8Array(1);
      for (;;) {
        const n = Deno.stdin.readSync(one);
        if (n === null || one[0] === 10) {
          return n === null && bytes.length === 0 ? null : new TextDecoder().decode(Uint8Array.from(bytes));
        }
        bytes.push(one[0]!);
      }
    },
  };
}
