/**
 * Provides the `auth` serializer with keys. They are read, and cryptography is loaded, only when the
 * serializer is first needed.
 *
 * Source: celery 5.2.6 security/__init__.py setup_security, security/serialization.py register_auth.
 */

import type { SigningKeys } from "./auth.ts";
import { offerSerializer } from "./serializer.ts";

/**
 * Registers the function that reads the keys of `auth`; the last one registered is used, as in kombu's
 * registry. `keys` throws UsageError for unreadable files, and loading the serializer rejects with it.
 */
export function offerSigning(keys: () => SigningKeys): void {
  offerSerializer("auth", async () => await (await import("./auth.ts")).loadAuth(keys()));
}
