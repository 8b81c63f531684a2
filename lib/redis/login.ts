/**
 * The first commands on a connection: protocol, credentials, name and database.
 *
 * Redis 6 and later takes protocol, credentials and name in HELLO. Older servers, and those whose
 * administrator has hidden HELLO, get AUTH and SELECT in RESP2.
 */

import { ProtocolError, ServerError } from "../base/mod.ts";
import { type Reply, type RespArg, RespError } from "../wire/mod.ts";
import { isUnknownCommand, toOperatingError } from "./errors.ts";

/** The login and database of a connection. */
export interface RedisLogin {
  /** Null: the user `default`. */
  readonly username: string | null;
  readonly password: string | null;
  readonly db: number;
  /** Shown by CLIENT LIST; null: none. */
  readonly clientName: string | null;
}

/** What a server reports about itself. */
export interface ServerFacts {
  readonly protocol: 2 | 3;
  /** Major and minor version; 0.0 if the server does not say. */
  readonly version: readonly [number, number];
  /** Its product and version; "the server" if it does not report them. */
  readonly name: string;
  /** The role that it reports, such as "master" or "replica"; "" if it reports none. */
  readonly role: string;
}

/** Sends commands together and resolves with their replies, error replies included. */
export type Exchange = (commands: readonly RespArg[][]) => Promise<Reply[]>;

/**
 * Logs in. Rejects with AccessRefused, ServerError (retryable if the server is still loading) or
 * ProtocolError, or as `exchange` does.
 */
export async function login(exchange: Exchange, who: RedisLogin): Promise<ServerFacts> {
  const name = who.clientName === null ? null : who.clientName.replaceAll(/[^\x21-\x7e]/g, "_");
  const hello: RespArg[] = ["HELLO", 3];
  if (who.password !== null) hello.push("AUTH", who.username ?? "default", who.password);
  if (name !== null && name !== "") hello.push("SETNAME", name);
  const [greeting] = await exchange([hello]);
  let facts: ServerFacts;
  if (greeting instanceof RespError) {
    if (!isUnknownCommand(greeting) && greeting.code !== "NOPERM") throw toOperatingError(greeting, "log in");
    facts = await loginOldWay(exchange, who, name);
  } else {
    const map = greeting instanceof Map ? greeting : new Map<Reply, Reply>();
    facts = {
      protocol: map.get("proto") === 3 ? 3 : 2,
      version: versionOf(text(map.get("version"))),
      name: nameOf(text(map.get("server")), text(map.get("version"))),
      role: text(map.get("role")),
    };
  }
  // A loading server replies to HELLO, but PING gets an error. PING makes it show here and not at the first
  // task.
  const rest: RespArg[][] = who.db === 0 ? [["PING"]] : [["SELECT", who.db], ["PING"]];
  const replies = await exchange(rest);
  for (const reply of replies) {
    if (reply instanceof RespError) throw toOperatingError(reply, `use database ${who.db}`);
  }
  // A service that is not Redis may reply to every line with something else; replies would never match then.
  if (text(replies.at(-1)) !== "PONG") {
    throw new ProtocolError("Cannot log in: PING was not answered by PONG");
  }
  return facts;
}

async function loginOldWay(exchange: Exchange, who: RedisLogin, name: string | null): Promise<ServerFacts> {
  if (who.password !== null) {
    const auth: RespArg[] = who.username === null
      ? ["AUTH", who.password]
      : ["AUTH", who.username, who.password];
    const [answer] = await exchange([auth]);
    if (answer instanceof RespError) throw toOperatingError(answer, "log in");
  }
  if (name !== null && name !== "") await exchange([["CLIENT", "SETNAME", name]]);
  const [info] = await exchange([["INFO", "server"]]);
  if (info instanceof RespError && info.code === "NOAUTH") throw toOperatingError(info, "log in");
  if (typeof info === "string" && /\bredis_mode:sentinel\b/.test(info)) {
    if (who.db !== 0) throw new ServerError("Cannot use a database of a sentinel", { code: "ERR" });
  }
  const version = /\bredis_version:([\d.]+)/.exec(text(info))?.[1] ?? "";
  return { protocol: 2, version: versionOf(version), name: nameOf("redis", version), role: "" };
}

function nameOf(server: string, version: string): string {
  if (server === "" || version === "") return "the server";
  return `${server[0]!.toUpperCase()}${server.slice(1)} ${version}`;
}

function text(value: Reply | undefined): string {
  if (typeof value === "string") return value;
  return value instanceof Uint8Array ? new TextDecoder().decode(value) : "";
}

function versionOf(text: string): readonly [number, number] {
  const [major, minor] = text.split(".").map(Number);
  return [major || 0, minor || 0];
}
