/** Parses URLs of servers by Celery's rules. */

import { UsageError } from "./errors.ts";
import { maskedPart, maskUrl } from "./mask.ts";
import { trimmedUrl, unquote } from "./unquote.ts";

/** The parts of a URL, escapes decoded. A missing part is null or empty. */
export interface ServerUrl {
  /** Lower case: "redis", "rediss", "redis+socket", "amqps"… */
  readonly scheme: string;
  /** The first host as in the URL; null if there is none. IPv6 without brackets. */
  readonly host: string | null;
  readonly port: number | null;
  readonly user: string | null;
  readonly password: string | null;
  /**
   * The text after the host, without its first "/": database, virtual host or socket path. Null if there is
   * no "/".
   */
  readonly path: string | null;
  readonly query: Readonly<Record<string, string>>;
  /** Every host of `host1:1,host2:2`, including the first. */
  readonly hosts: readonly { readonly host: string; readonly port: number | null }[];
}

/**
 * Parses one URL; `what` names it in errors ("broker URL"). A bare scheme ("redis") and a scheme with nothing
 * after it ("memory://") are URLs too. The last "@" before the first "/" ends the password, so a password may
 * contain an unescaped "@". Throws UsageError, with the password masked, if the text is not a URL.
 *
 * Source: kombu 5.2.4 utils/url.py url_to_parts.
 */
export function parseServerUrl(given: string, what: string): ServerUrl {
  const url = trimmedUrl(given);
  const scheme = urlScheme(url, what);
  const colon = url.indexOf(":");
  let rest = colon < 0 ? "" : url.slice(colon + 1);
  if (rest.startsWith("//")) rest = rest.slice(2);
  const hash = rest.indexOf("#", rest.lastIndexOf("@") + 1);
  if (hash >= 0) rest = rest.slice(0, hash);
  const mark = rest.indexOf("?", Math.max(0, rest.split("?")[0]!.lastIndexOf("@")));
  const query: Record<string, string> = Object.create(null);
  if (mark >= 0) {
    for (const [key, value] of new URLSearchParams(rest.slice(mark + 1))) query[key] = value;
    rest = rest.slice(0, mark);
  }
  const firstSlash = rest.indexOf("/");
  const authorityText = firstSlash < 0 ? rest : rest.slice(0, firstSlash);
  const at = authorityText.includes("@") ? authorityText.lastIndexOf("@") : -1;
  const login = at < 0 ? null : authorityText.slice(0, at);
  const place = authorityText.slice(at + 1);
  const separator = login === null ? -1 : login.indexOf(":");
  const user = login === null ? null : unquote(separator < 0 ? login : login.slice(0, separator));
  const hosts = place === "" ? [] : place.split(",").map((one) => hostAndPort(one, url, what));
  return {
    scheme,
    host: hosts[0]?.host || null,
    port: hosts[0]?.port ?? null,
    user: user || null,
    password: login === null || separator < 0 ? null : unquote(login.slice(separator + 1)),
    path: firstSlash < 0 ? null : unquote(rest.slice(firstSlash + 1)),
    query,
    hosts,
  };
}

/** Returns the scheme of a URL in lower case. Throws UsageError if there is none. */
export function urlScheme(url: string, what: string): string {
  const match = /^\s*([A-Za-z][A-Za-z0-9+.-]*)(:|$)/.exec(url);
  if (!match) throw unreadable(url, what, "it has no scheme");
  return match[1]!.toLowerCase();
}

function hostAndPort(text: string, url: string, what: string): { host: string; port: number | null } {
  const match = /^(?:\[([^\]]*)\]|([^:\[\]]*))(?::(\d*))?$/.exec(text);
  if (!match) throw unreadable(url, what, `${maskedPart(url, text)} is not a host and port`);
  const port = match[3] ? Number(match[3]) : null;
  if (port !== null && port > 65_535) {
    throw unreadable(url, what, `${maskedPart(url, match[3]!)} is not a port`);
  }
  return { host: unquote(match[1] ?? match[2]!), port };
}

function unreadable(url: string, what: string, why: string): UsageError {
  return new UsageError(`Cannot read ${what} "${maskUrl(url)}": ${why}`);
}
