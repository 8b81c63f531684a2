/**
 * Private keys from PEM, with or without a passphrase.
 *
 * The runtime reads every form except PKCS #8 encrypted with triple DES, which `openssl req -x509 -newkey` of
 * OpenSSL 3.0 writes by default. That form is decrypted here.
 *
 * Source: RFC 8018 (PBES2), RFC 5958 (EncryptedPrivateKeyInfo).
 */

import { Buffer } from "node:buffer";
import { createDecipheriv, createPrivateKey, type KeyObject, pbkdf2Sync } from "node:crypto";
import { UsageError } from "../../base/mod.ts";
import { derElements, derInteger } from "./der.ts";

const PBES2 = "2a864886f70d01050d";
const PBKDF2 = "2a864886f70d01050c";
const DES_EDE3_CBC = "2a864886f70d0307";
/** Hashes of PBKDF2 by object id; the default is SHA-1. */
const HASHES: Readonly<Record<string, string>> = {
  "2a864886f70d0207": "sha1",
  "2a864886f70d0209": "sha256",
  "2a864886f70d020a": "sha384",
  "2a864886f70d020b": "sha512",
};
const SEQUENCE = 0x30;
/** The maximum number of PBKDF2 rounds; no regular key has more. */
const ROUNDS_MAX = 10_000_000;

/** Reads an RSA key. Throws UsageError, which never contains a part of the key or the passphrase. */
export function readPrivateKey(pem: string, passphrase: string | null): KeyObject {
  let key: KeyObject | null;
  try {
    key = createPrivateKey(passphrase === null ? pem : { key: pem, passphrase });
  } catch {
    key = passphrase === null ? null : tripleDesKey(pem, passphrase);
  }
  if (key === null) {
    throw new UsageError(
      !pem.includes("ENCRYPTED")
        ? "Cannot use security_key: it is not a private key in PEM"
        : passphrase === null
        ? "Cannot use security_key: it is encrypted, and security_key_password is not given"
        : "Cannot use security_key: security_key_password does not open it",
    );
  }
  if (key.asymmetricKeyType !== "rsa") throw new UsageError("Cannot use security_key: it is not an RSA key");
  return key;
}

/** Decrypts a key encrypted with triple DES; null if it has another form or the passphrase is wrong. */
function tripleDesKey(pem: string, passphrase: string): KeyObject | null {
  const inside = /-----BEGIN ENCRYPTED PRIVATE KEY-----([^-]+)-----END/.exec(pem)?.[1];
  if (inside === undefined) return null;
  try {
    const [whole] = derElements(Buffer.from(inside, "base64"));
    const [algorithm, data] = derElements(whole!.content);
    const [scheme, parameters] = derElements(algorithm!.content);
    const [derivation, cipher] = derElements(parameters!.content);
    const [cipherId, iv] = derElements(cipher!.content);
    const [derivationId, how] = derElements(derivation!.content);
    const known = [hex(scheme!.content), hex(derivationId!.content), hex(cipherId!.content)];
    if (known.join() !== [PBES2, PBKDF2, DES_EDE3_CBC].join()) return null;
    const [salt, rounds, ...rest] = derElements(how!.content);
    const named = rest.find(({ tag }) => tag === SEQUENCE);
    const hash = named === undefined ? "sha1" : HASHES[hex(derElements(named.content)[0]!.content)];
    const count = Number(derInteger(rounds!.content));
    if (hash === undefined || count > ROUNDS_MAX) return null;
    const secret = pbkdf2Sync(passphrase, salt!.content, count, 24, hash);
    const decipher = createDecipheriv("des-ede3-cbc", secret, iv!.content);
    const der = Buffer.concat([decipher.update(data!.content), decipher.final()]);
    return createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  } catch {
    // The padding or the decrypted key is invalid, so the passphrase is wrong.
    return null;
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
