/** Which transport serves a broker URL. */

import { maskUrl, urlScheme, UsageError } from "../base/mod.ts";

/** The transports. */
export type TransportKind = "memory" | "sqlite" | "redis" | "amqp";

/** Transports by URL scheme. Source: kombu 5.2.4 transport/__init__.py TRANSPORT_ALIASES. */
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
  "redis-cluster": "redis",
  "rediss-cluster": "redis",
  rediscluster: "redis",
  amqp: "amqp",
  amqps: "amqp",
  pyamqp: "amqp",
};

/** Schemes of Celery for which Lovage has no transport, so that the error can say so. */
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
  "slmq",
  "zookeeper",
]);

/** Returns the transport of a URL. Throws UsageError for an unknown scheme, naming the known ones. */
export function transportOf(url: string): TransportKind {
  const scheme = urlScheme(url, "broker URL");
  const kind = Object.hasOwn(TRANSPORTS, scheme) ? TRANSPORTS[scheme] : undefined;
  if (kind) return kind;
  const why = FOREIGN.has(scheme) ? `Lovage has no "${scheme}" transport` : `unknown scheme "${scheme}"`;
  throw new UsageError(
    `Cannot use broker "${maskUrl(url)}": ${why}; known are ${Object.keys(TRANSPORTS).join(", ")}`,
  );
}
