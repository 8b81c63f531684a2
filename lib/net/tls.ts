/**
 * TLS options from the settings that Celery reads (`broker_use_ssl`, `redis_backend_use_ssl`, the query of
 * `rediss://`).
 *
 * Source: celery 5.2.6 backends/redis.py (`ssl_cert_reqs` and its neighbours), kombu 5.2.4
 * transport/pyamqp.py (`ca_certs` and its neighbours), redis-py 4.3.4 SSLConnection.
 */

import { errorText, nodeFs, type TlsOptions, UsageError } from "../base/mod.ts";

/** The TLS files and checks that settings name. Paths name PEM files. */
export interface TlsFiles {
  readonly caCerts: string | null;
  readonly certfile: string | null;
  readonly keyfile: string | null;
  /** False: any certificate is accepted. */
  readonly verify: boolean;
  /** False: a valid certificate for another host is accepted. */
  readonly checkHostname: boolean;
}

/**
 * Returns the TLS options that a URL and its setting (`broker_use_ssl`, `redis_backend_use_ssl`) ask for, or
 * null if neither asks for TLS. Any `ssl_` parameter in the query asks for it. The query overrides the
 * setting. Throws UsageError as `tlsFilesOf` does.
 *
 * Source: kombu 5.2.4 utils/url.py parse_url.
 */
export function requestedTls(request: {
  readonly isTlsScheme: boolean;
  readonly useSsl: boolean | Readonly<Record<string, unknown>>;
  readonly query: Readonly<Record<string, string>>;
}): TlsFiles | null {
  const { isTlsScheme, useSsl, query } = request;
  const isRequested = isTlsScheme || useSsl !== false ||
    Object.keys(query).some((key) => key.startsWith("ssl_"));
  if (!isRequested) return null;
  return tlsFilesOf(typeof useSsl === "object" ? { ...useSsl, ...query } : query);
}

/**
 * Reads TLS settings as Celery's users write them: `ssl_cert_reqs`, `ssl_ca_certs`, `ssl_certfile`,
 * `ssl_keyfile`, `ssl_check_hostname`, each also without `ssl_` (AMQP's spelling). A boolean and `{}` mean
 * verification with the system's authorities. The requirement is `required`, `optional` (the same as
 * `required`, since a server always has a certificate) or `none`, also as `CERT_NONE` or Python's number.
 * Throws UsageError on any other value.
 */
export function tlsFilesOf(settings: boolean | Readonly<Record<string, unknown>>): TlsFiles {
  const given = typeof settings === "boolean" ? {} : settings;
  const pick = (name: string) => {
    const value = given[`ssl_${name}`] ?? given[name];
    return typeof value === "string" && value !== "" ? value : null;
  };
  return {
    caCerts: pick("ca_certs"),
    certfile: pick("certfile"),
    keyfile: pick("keyfile"),
    verify: isVerified(given["ssl_cert_reqs"] ?? given["cert_reqs"] ?? "required"),
    checkHostname: !/^(false|0|no|off|f|n)$/i.test(
      String(given["ssl_check_hostname"] ?? given["check_hostname"]),
    ),
  };
}

function isVerified(requirement: unknown): boolean {
  const word = String(requirement).toLowerCase().replace(/^(ssl\.)?(verifymode\.)?cert_/, "");
  if (word === "none" || word === "0" || word === "false") return false;
  if (word === "required" || word === "optional" || word === "1" || word === "2" || word === "true") {
    return true;
  }
  throw new UsageError(
    `Cannot use ssl_cert_reqs "${
      String(requirement)
    }": it must be set to CERT_REQUIRED, CERT_OPTIONAL or CERT_NONE`,
  );
}

/** Reads the files. Rejects with UsageError, which names the unreadable file. */
export async function readTlsOptions(files: TlsFiles): Promise<TlsOptions> {
  return {
    caCerts: files.caCerts === null ? [] : [await readPem(files.caCerts)],
    cert: files.certfile === null ? null : await readPem(files.certfile),
    key: files.keyfile === null ? null : await readPem(files.keyfile),
    verify: files.verify,
    checkHostname: files.checkHostname,
  };
}

async function readPem(path: string): Promise<string> {
  try {
    return await nodeFs().promises.readFile(path, "utf8");
  } catch (error) {
    throw new UsageError(`Cannot read the TLS file "${path}": ${errorText(error)}`, { cause: error });
  }
}
