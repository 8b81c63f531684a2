/** The real terminal. */

import { errorText, shown, type Terminal } from "../base/mod.ts";
import { EXIT } from "./exit_codes.ts";

const encoder = new TextEncoder();

/** The status of a program that SIGPIPE ended, as a shell gives it. */
const BROKEN_PIPE = 141;

let isOutputNeeded = true;

/**
 * What cannot be written to the standard streams is dropped from now on: a worker does not end with its reader, with a
 * terminal that closes or a disk that fills up.
 */
export function outliveOutput(): void {
  isOutputNeeded = false;
}

/**
 * Writes all of `text` to a stream of the process. A reader that went away (`| head`) ends the program quietly, a full
 * disk with one line, unless the program outlives its output.
 */
function writeAll(stream: typeof Deno.stdout | typeof Deno.stderr, text: string): void {
  let bytes = encoder.encode(text);
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(stream.writeSync(bytes));
    } catch (error) {
      if (error instanceof Deno.errors.WouldBlock) continue;
      // Where errors cannot be told, the exit status tells them.
      if (!isOutputNeeded || stream === Deno.stderr) return;
      if (error instanceof Deno.errors.BrokenPipe) Deno.exit(BROKEN_PIPE);
      writeAll(Deno.stderr, `Error: Cannot write to standard output: ${errorText(error)}\n`);
      Deno.exit(EXIT.FAILURE);
    }
  }
}

/** A Terminal on the process's standard streams. */
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
