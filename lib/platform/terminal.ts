/** The real terminal. */

import type { Terminal } from "../base/mod.ts";

const encoder = new TextEncoder();

/** Writes all of `text` to a stream of the process; a reader that went away (`| head`) ends the program quietly. */
function writeAll(stream: typeof Deno.stdout | typeof Deno.stderr, text: string): void {
  let bytes = encoder.encode(text);
  while (bytes.length > 0) {
    try {
      bytes = bytes.subarray(stream.writeSync(bytes));
    } catch (error) {
      if (error instanceof Deno.errors.BrokenPipe) Deno.exit(141);
      if (!(error instanceof Deno.errors.WouldBlock)) throw error;
    }
  }
}

/** A Terminal on the process's standard streams. */
export function realTerminal(): Terminal {
  return {
    out: (text) => writeAll(Deno.stdout, text),
    err: (text) => writeAll(Deno.stderr, text),
    get columns() {
      try {
        return Deno.consoleSize().columns;
      } catch {
        return 80; // not a terminal
      }
    },
    outIsTty: Deno.stdout.isTerminal(),
    errIsTty: Deno.stderr.isTerminal(),
    inIsTty: Deno.stdin.isTerminal(),
    prompt: (question) => {
      writeAll(Deno.stdout, question);
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
