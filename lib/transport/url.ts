/** Broker URLs taken apart, by the rules people know from Celery. */

import { maskUrl, UsageError } from "../base/mod.ts";
import type { TransportKind } from "./transport.ts";

/** A URL's parts, escapes decoded; null and empty where absent. */
export interface BrokerUrl {
  /** Lower case: "redis", "rediss", "redis+socket", "amqps"… */
  readonly scheme: string;
  /** As in the URL; null where absent. IPv6 without brackets. */
  readonly host: string | null;
  readonly port: number | null;
  readonly user: string | null;
  readonly password: string | null;
  /** What follows the host without its first "/": database, virtual host, socket path. Null where there is no "/". */
  readonly path: string | null;
  readonly query: Readonly<Record<string, string>>;
  /** Every host of `host1:1,host2:2`, the first included. */
  readonly hosts: readonly { readonly host: string; readonly port: number | null }[];
}

/** Which transport serves a scheme. Source: kombu 5.2.4 transport/__init__.py TRANSPORT_ALIASES. */
const TRANSPORTS: Readonly<Record<string, TransportKind>> = {
  memory: "memory",
  sqlite: "sqlite",
  redis: "redis",
  rediss: "redis",
  "redis+socket": "redis",
  socket: "redis",
  sentinel: "redis",
  valkey: "redis",
  valkeys: "redis",
  amqp: "amqp",
  amqps: "amqp",
  pyamqp: "amqp",
};

/** Schemes that Celery knows and we do not: named so that the message can say so. */
const FOREIGN = new Set([
  "azurestoragequeues",
  "azureservicebus",
  "confluentkafka",
  "consul",
  "etcd",
  "filesystem",
  "gcpubsub",
  "librabbitmq",
  "mongodb",
  "pyro",
  "qpid",
  "sqla",
  "sqlalchemy",
  "sqs",
  "SLMQ",
  "zookeeper",
]);

/** The transport of a URL. Throws UsageError for an unknown scheme, naming the known ones. */
export function transportOf(url: string): TransportKind {
  const scheme = schemeOf(url);
  const kind = Object.hasOwn(TRANSPORTS, scheme) ? TRANSPORTS[scheme] : undefined;
  if (kind) return kind;
  const why = FOREIGN.has(scheme) ? `Lovage has no "${scheme}" transport` : `unknown scheme "${scheme}"`;
  throw new UsageError(
    `Cannot use broker "${maskUrl(url)}": ${why}; known are ${Object.keys(TRANSPORTS).join(", ")}`,
  );
}

/**
 * Takes one URL apart. A bare scheme ("redis") or scheme with nothing behind ("memory://") is one too. Throws
 * UsageError, with the password masked, where it is none. The last "@" ends the password, so an unescaped "@" in it
 * does no harm. Source: kombu 5.2.4 utils/url.py url_to_parts.
 */
export function parseBrokerUrl(url: string): BrokerUrl {
  const scheme = schemeOf(url);
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
  const user = login === null ? null : decode(separator < 0 ? login : login.slice(0, separator), url);
  const hosts = place === "" ? [] : place.split(",").map((one) => hostAndPort(one, url));
  return {
    scheme,
    host: hosts[0]?.host || null,
    port: hosts[0]?.port ?? null,
    user: user || null,
    password: login === null || separator < 0 ? null : decode(login.slice(separator + 1), url),
    path: firstSlash < 0 ? null : decode(rest.slice(firstSlash + 1), url),
    query,
    hosts,
  };
}

function schemeOf(url: string): string {
  const match = /^\s*([A-Za-z][A-Za-z0-9+.-]*)(:|$)/.exec(url);
  if (!match) throw new UsageError(`Cannot read broker URL "${maskUrl(url)}": it has no scheme`);
  const scheme = match[1]!;
  return FOREIGN.has(scheme) ? scheme : scheme.toLowerCase();
}

function hostAndPort(text: string, url: string): { host: string; port: number | null } {
  const match = /^(?:\[([^\]]*)\]|([^:\[\]]*))(?::(\d*))?$/.exec(text);
  if (!match) throw new UsageError(`Cannot read broker URL "${maskUrl(url)}": no host and port in "${text}"`);
  const port = match[3] ? Number(match[3]) : null;
  if (port !== null && port > 65_535) {
    throw new UsageError(`Cannot read broker URL "${maskUrl(url)}": no port ${port}`);
  }
  return { host: decode(match[1] ?? match[2]!, url), port };
}

function decode(text: string, url: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // A "%" that escapes nothing is meant as it stands, as Python's unquote takes it.
    if (/%[0-9A-Fa-f]{2}/.test(text)) {
      throw new UsageError(`Cannot read broker URL "${maskUrl(url)}": a wrong % escape`);
    }
    return text;
  }
}
