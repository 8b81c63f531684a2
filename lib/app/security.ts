/**
 * Signed messages: the keys of the `auth` serializer.
 *
 * Source: celery 5.6.3 app/base.py Celery.setup_security, security/__init__.py setup_security.
 */

import { firstLine, namesOf, nodeFs, refuseUnknown, UsageError } from "../base/mod.ts";
import type { AppCore } from "./core.ts";
import { offerSigning, type SigningKeys } from "../wire/mod.ts";

/** Options that override the `security_…` settings. */
export interface SecurityOptions {
  /** Path of our private key, PEM. */
  readonly key?: string;
  /** Its passphrase. */
  readonly keyPassword?: string;
  /** Path of our certificate, PEM. */
  readonly cert?: string;
  /** Folder or glob of trusted certificates. */
  readonly store?: string;
  /** Hash algorithm of signatures. */
  readonly digest?: string;
  /** Serializer of the signed content. Default "json". */
  readonly serializer?: string;
}

const NAMES = namesOf<SecurityOptions>({
  key: true,
  keyPassword: true,
  cert: true,
  store: true,
  digest: true,
  serializer: true,
});

/**
 * Turns on signing of the App's messages. Settings are checked here; the files are read when the first
 * message is signed or verified, which a worker does before it is ready. Throws UsageError if settings are
 * missing or an option is unknown.
 */
export function setupSecurity(app: AppCore, options: SecurityOptions = {}): void {
  refuseUnknown(options, NAMES, "setupSecurity");
  const { conf } = app;
  const [accepted, ...more] = conf.accept_content;
  if (conf.task_serializer !== "auth" || accepted !== "auth" || more.length > 0) {
    throw new UsageError(
      'Signed messages need task_serializer = "auth" and accept_content = ["auth"]: ' +
        "signing is of no use if unsigned messages are accepted",
    );
  }
  for (
    const [name, given] of [
      ["security_key", options.key],
      ["security_certificate", options.cert],
      ["security_cert_store", options.store],
    ] as const
  ) {
    if (!given && !conf[name]) throw new UsageError(`Signed messages need the setting ${name}`);
  }
  offerSigning(() => signingKeys(app, options));
}

/** Returns true if the settings alone enable signing, so that no call of `setupSecurity` is needed. */
export function wantsSecurity({ conf }: AppCore): boolean {
  return conf.task_serializer === "auth" && conf.accept_content.includes("auth") &&
    conf.security_key !== null;
}

function signingKeys(app: AppCore, options: SecurityOptions): SigningKeys {
  const { conf, world } = app;
  const store = options.store ?? conf.security_cert_store!;
  return {
    key: read("security_key", options.key ?? conf.security_key!),
    keyPassword: options.keyPassword ?? conf.security_key_password,
    certificate: read("security_certificate", options.cert ?? conf.security_certificate!),
    store: storePaths(store).map((path) => ({ path, pem: read("security_cert_store", path) })),
    digest: options.digest ?? conf.security_digest,
    serializer: options.serializer ?? "json",
    layout: conf.security_layout === "auto" ? null : conf.security_layout,
    now: () => world.clock.wallMs(),
    warn: (text) => world.log.warning(text),
  };
}

/** Returns the files of a folder or glob, without folders and hidden files. */
function storePaths(store: string): string[] {
  try {
    const isFolder = nodeFs().statSync(store, { throwIfNoEntry: false })?.isDirectory() ?? false;
    return nodeFs().globSync(isFolder ? `${store}/*` : store)
      .filter((path) => !/(^|\/)\.[^/]*$/.test(path) && nodeFs().statSync(path).isFile())
      .sort();
  } catch (error) {
    throw new UsageError(`Cannot read security_cert_store: ${firstLine(error)}`, { cause: error });
  }
}

function read(setting: string, path: string): string {
  try {
    return nodeFs().readFileSync(path, "utf-8");
  } catch (error) {
    throw new UsageError(`Cannot read ${setting}: ${firstLine(error)}`, { cause: error });
  }
}
