/**
 * How the `auth` serializer gets its keys: who knows them says how to read them, and nothing is read, and no
 * cryptography loaded, before something is to be signed or verified.
 *
 * Source: celery 5.2.6 security/__init__.py setup_security, security/serialization.py register_auth.
 */

import { offerSerializer } from "./serializer.ts";

/**
 * How the fields of a signed message are laid out. "5.2": Celery up to 5.4; "5.5": from 5.5 on. Neither Celery reads
 * the other's; we read both.
 */
export type SignedLayout = "5.2" | "5.5";

/** What signing and verifying needs. */
export interface SigningKeys {
  /** Our private key and certificate, PEM. */
  readonly key: string;
  /** Passphrase of the key; null: it has none. */
  readonly keyPassword: string | null;
  readonly certificate: string;
  /** Whom to believe: PEM, and where each is from, for messages. */
  readonly store: readonly { readonly path: string; readonly pem: string }[];
  /** A hash by Celery's name: sha256, sha512, sha3_256 … */
  readonly digest: string;
  /** Serializer of what is signed; it is loaded together with `auth`. */
  readonly serializer: string;
  /** Null: as the messages that came in last, and "5.5" before any has. */
  readonly layout: SignedLayout | null;
  /** Wall time in milliseconds: certificates end. */
  readonly now: () => number;
  /** Hears of what is not wrong enough to stop for: one line each. */
  readonly warn: (text: string) => void;
}

/**
 * Says how the keys of `auth` are had; the last one holds, as in kombu's registry. `keys` throws UsageError for files
 * that cannot be read, and the loading of the serializer rejects with it.
 */
export function offerSigning(keys: () => SigningKeys): void {
  offerSerializer("auth", async () => await (await import("./serializer_auth.ts")).loadAuth(keys()));
}
