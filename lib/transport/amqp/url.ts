/**
 * AMQP URLs: server, virtual host, login and TLS.
 *
 * Source: protocol.md 3.1; kombu 5.2.4 transport/pyamqp.py Transport.establish_connection, default_connection_params.
 */

import type { AmqpTarget } from "../../amqp/mod.ts";
import { parseServerUrl } from "../../base/mod.ts";
import { readTlsOptions, requestedTls } from "../../net/mod.ts";

const PORT = 5672;
const TLS_PORT = 5671;

/**
 * Parses `amqp://`, `pyamqp://` or `amqps://`; the default is `guest:guest@localhost:5672//`. An empty path
 * and `//` are the virtual host "/"; escapes are decoded. `useSsl` is Celery's `broker_use_ssl`; `ssl_…` in
 * the query wins over it. Rejects with UsageError (URL, certificates), with the password masked.
 */
export async function amqpTarget(
  url: string,
  useSsl: boolean | Readonly<Record<string, unknown>>,
): Promise<AmqpTarget> {
  const { scheme, host, port, user, password, path, query } = parseServerUrl(url, "broker URL");
  const files = requestedTls({ isTlsScheme: scheme === "amqps", useSsl, query });
  const tls = files === null ? null : await readTlsOptions(files);
  return {
    address: { kind: "tcp", host: host ?? "localhost", port: port ?? (tls ? TLS_PORT : PORT), tls },
    virtualHost: path === null || path === "" ? "/" : path,
    username: user ?? "guest",
    password: password ?? (user === null ? "guest" : ""),
  };
}
