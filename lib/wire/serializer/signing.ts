/**
 * How the `auth` serializer gets its keys: who knows them says how to read them, and nothing is read, and no
 * cryptography loaded, before something is to be signed or verified.
 *
 * Source: celery 5.2.6 security/__init__.py setup_security, security/serialization.py register_auth.
 */

import type { SigningKeys } from "./auth.ts";
import { offerSerializer } from "./serializer.ts";

/**
 * Says how the keys of `auth` are had; the last one holds, as in kombu's registry. `keys` throws UsageError for files
 * that cannot be read, and the loading of the serializer rejects with it.
 */
export function offerSigning(keys: () => SigningKeys): void {
  offerSerializer("auth", async () => await (await import("./auth.ts")).loadAuth(keys()));
}
