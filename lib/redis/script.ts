/** Lua scripts by their hash: EVALSHA, and EVAL once where the server has not seen the script. */

import { type Reply, type RespArg, RespError } from "../wire/mod.ts";
import type { RedisConnection } from "./connection.ts";
import { toOperatingError } from "./errors.ts";
import type { ReplySink } from "./reply_queue.ts";
import { sha1Hex } from "./sha1.ts";

/** A script's text and its SHA-1 in hex. */
export class Script {
  readonly text: string;
  #sha: string | null = null;

  constructor(text: string) {
    this.text = text;
  }

  /** Computed by its first use: not every connection runs scripts. */
  get sha(): string {
    return this.#sha ??= sha1Hex(this.text);
  }
}

/**
 * Data lane: runs a script. `args` are the keys, then the arguments. Where the server does not know the script, it is
 * sent in full, behind whatever was sent meanwhile.
 */
export function sendScript(
  connection: RedisConnection,
  script: Script,
  keyCount: number,
  args: readonly RespArg[],
  sink: ReplySink,
): void {
  const command: RespArg[] = ["EVALSHA", script.sha, keyCount];
  for (let i = 0; i < args.length; i++) command.push(args[i]!);
  connection.send(command, {
    onReply(reply) {
      if (!(reply instanceof RespError) || reply.code !== "NOSCRIPT") return sink.onReply(reply);
      command[0] = "EVAL";
      command[1] = script.text;
      connection.send(command, sink);
    },
    onLost: (error) => sink.onLost(error),
  });
}

/** Control lane: runs a script. Rejects as RedisConnection.call does; `doing` says what was tried. */
export function callScript(
  connection: RedisConnection,
  script: Script,
  what: { keys: readonly string[]; args: readonly RespArg[]; doing: string },
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    sendScript(connection, script, what.keys.length, [...what.keys, ...what.args], {
      onReply: (reply) =>
        reply instanceof RespError ? reject(toOperatingError(reply, what.doing)) : resolve(reply),
      onLost: reject,
    });
  });
}
