/**
 * Runs Lua scripts by hash: with EVAL until the server has returned the hash, then with EVALSHA, and with
 * EVAL again if a server does not know the script.
 */

import { type Reply, type RespArg, RespError } from "../wire/mod.ts";
import type { RedisConnection } from "./connection.ts";
import { UsageError } from "../base/mod.ts";
import { isUnknownCommand, toOperatingError } from "./errors.ts";
import type { ReplySink } from "./reply_queue.ts";

/**
 * A script's text, and its hash once a server has returned it. Computing the hash would add milliseconds to a
 * start.
 */
export class Script {
  readonly text: string;
  /** The SHA-1 of the text in hex; null if it is not known yet, or if the server's ACL forbids SCRIPT. */
  sha: string | null = null;
  #isAsked = false;

  constructor(text: string) {
    this.text = text;
  }

  /** Requests the hash from the server, unless it was requested before. */
  ask(connection: RedisConnection): void {
    if (this.#isAsked) return;
    this.#isAsked = true;
    connection.send(["SCRIPT", "LOAD", this.text], {
      onReply: (reply) => {
        if (typeof reply === "string") this.sha = reply;
      },
      onLost: () => this.#isAsked = false,
    });
  }
}

/**
 * Data lane: runs a script. `args` are the keys, then the arguments. If the server does not know the script,
 * its text is sent, after commands sent in the meantime.
 */
export function sendScript(
  connection: RedisConnection,
  script: Script,
  keyCount: number,
  args: readonly RespArg[],
  sink: ReplySink,
): void {
  const { sha } = script;
  const command: RespArg[] = sha === null ? ["EVAL", script.text, keyCount] : ["EVALSHA", sha, keyCount];
  for (let i = 0; i < args.length; i++) command.push(args[i]!);
  if (sha === null) {
    connection.send(command, sink);
    return script.ask(connection);
  }
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

/**
 * Control lane: runs a script. Rejects as RedisConnection.call does, or with UsageError if the server has no
 * Lua. `doing` says what failed, as in "Cannot <doing>".
 */
export function callScript(
  connection: RedisConnection,
  script: Script,
  what: { keys: readonly string[]; args: readonly RespArg[]; doing: string },
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    sendScript(connection, script, what.keys.length, [...what.keys, ...what.args], {
      onReply: (reply) =>
        reply instanceof RespError ? reject(refusedScript(connection, reply, what.doing)) : resolve(reply),
      onLost: reject,
    });
  });
}

/**
 * Returns the error for a refused script. A server without Lua cannot be used, since only a script can read
 * and change several keys in one step.
 */
function refusedScript(connection: RedisConnection, reply: RespError, doing: string): Error {
  if (!isUnknownCommand(reply)) return toOperatingError(reply, doing);
  return new UsageError(
    `Cannot use ${connection.serverName} as a broker: it has no EVAL, and Lovage needs Lua scripts`,
    { exitCode: UNUSABLE_SERVER },
  );
}

/** The exit status for a server that cannot be used (EX_UNAVAILABLE in sysexits.h). */
export const UNUSABLE_SERVER = 69;
