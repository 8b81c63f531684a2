/**
 * The `auth` serializer: signs the output of another serializer. It does not encrypt, and the signature does
 * not cover a message's headers.
 *
 *   base64( signer 00 01 signature 00 01 content type 00 01 content encoding 00 01 body )
 *
 * Signer and signature are in base64 since Celery 5.5, and raw before. A raw signature may contain the
 * separator; its length follows from the signer's key. RSA with PSS, MGF1 with the same hash, and the longest
 * possible salt.
 *
 * Source: celery 5.2.6 security/serialization.py SecureSerializer, security/certificate.py, security/key.py;
 * protocol.md 1.4.2.
 */

import { Buffer } from "node:buffer";
import { constants, createHash, getHashes, type KeyObject, sign, verify, X509Certificate } from "node:crypto";
import { firstLine, UsageError } from "../../base/mod.ts";
import { certificateId } from "./certificate_id.ts";
import type { Codec } from "./codec.ts";
import { DecodeError } from "../errors.ts";
import { readPrivateKey } from "./private_key.ts";
import { acceptedTypes, deserialize, isSerializerLoaded, loadSerializer, serialize } from "./serializer.ts";

const SEPARATOR = Buffer.from([0, 1]);
/** The content types that may be signed: no raw data, no signed data, nothing that runs code. */
const INNER_TYPES = acceptedTypes(["json", "yaml", "msgpack", "cbor"]);
/** The maximum length of a signer's name in an error, characters. */
const SIGNER_SHOWN_MAX = 100;

/**
 * The layout of a signed message. "5.2": Celery up to 5.4; "5.5": Celery from 5.5 on. Each Celery reads only
 * its own; we read both.
 */
export type SignedLayout = "5.2" | "5.5";

/** Keys and settings for signing and verifying. */
export interface SigningKeys {
  /** Our private key and certificate, PEM. */
  readonly key: string;
  /** The passphrase of the key; null: none. */
  readonly keyPassword: string | null;
  readonly certificate: string;
  /** The trusted certificates, in PEM, and where each comes from, for error texts. */
  readonly store: readonly { readonly path: string; readonly pem: string }[];
  /** The hash by Celery's name, such as sha256, sha512 or sha3_256. */
  readonly digest: string;
  /** The serializer of the signed content; it is loaded together with `auth`. */
  readonly serializer: string;
  /** Null: the layout of the last verified message, and "5.5" before the first one. */
  readonly layout: SignedLayout | null;
  /** Returns the wall-clock time in milliseconds, to check when certificates expire. */
  readonly now: () => number;
  /** Called with a warning of one line. */
  readonly warn: (text: string) => void;
}

interface Certificate {
  readonly id: string;
  readonly x509: X509Certificate;
  readonly publicKey: KeyObject;
  readonly endsMs: number;
  readonly signatureBytes: number;
  /** The longest possible salt with the digest in use. */
  readonly saltBytes: number;
}

interface Signed {
  readonly layout: SignedLayout;
  readonly signer: string;
  readonly signature: Uint8Array;
  readonly contentType: string;
  readonly contentEncoding: string;
  readonly body: Uint8Array;
}

/** Creates the serializer. Rejects with UsageError for an unusable key, certificate, digest or serializer. */
export async function loadAuth(keys: SigningKeys): Promise<Codec> {
  if (keys.serializer === "auth" || keys.serializer === "raw") {
    throw new UsageError(`Cannot sign what serializer "${keys.serializer}" makes; use json`);
  }
  await loadSerializer(keys.serializer);
  return new AuthCodec(keys);
}

class AuthCodec implements Codec {
  readonly name = "auth";
  readonly contentType = "application/data";
  readonly contentEncoding = "utf-8";
  readonly #keys: SigningKeys;
  readonly #digest: string;
  readonly #key: KeyObject;
  readonly #own: Certificate;
  readonly #trusted = new Map<string, Certificate>();
  #layout: SignedLayout;

  constructor(keys: SigningKeys) {
    this.#keys = keys;
    this.#digest = digestName(keys.digest);
    this.#layout = keys.layout ?? "5.5";
    this.#key = readPrivateKey(keys.key, keys.keyPassword);
    this.#own = this.#certificate(keys.certificate, "security_certificate");
    if (!this.#own.x509.checkPrivateKey(this.#key)) {
      throw new UsageError("security_key is not the key of security_certificate");
    }
    if (this.#hasEnded(this.#own)) {
      throw new UsageError(
        `security_certificate "${this.#own.id}" has expired: others would refuse its signatures`,
      );
    }
    for (const { path, pem } of keys.store) this.#trust(path, pem);
    if (this.#trusted.size === 0) {
      throw new UsageError("security_cert_store holds no certificates: no message could be verified");
    }
  }

  encode(value: unknown): string {
    const { body, contentType, contentEncoding } = serialize(value, this.#keys.serializer);
    const data = typeof body === "string" ? Buffer.from(body) : body;
    const signature = sign(this.#digest, data, {
      key: this.#key,
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength: this.#own.saltBytes,
    });
    const isNew = this.#layout === "5.5";
    const { id } = this.#own;
    return Buffer.concat([
      Buffer.from(isNew ? Buffer.from(id).toString("base64") : id),
      SEPARATOR,
      isNew ? Buffer.from(signature.toString("base64")) : signature,
      SEPARATOR,
      Buffer.from(contentType),
      SEPARATOR,
      Buffer.from(contentEncoding),
      SEPARATOR,
      data,
    ]).toString("base64");
  }

  decode(body: Uint8Array | string): unknown {
    const signed = this.#unpack(body);
    const certificate = this.#trustedAs(signed.signer);
    const isGood = verify(this.#digest, signed.body, {
      key: certificate.publicKey,
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength: certificate.saltBytes,
    }, signed.signature);
    if (!isGood) throw refused(`the signature of "${shown(signed.signer)}" does not match this content`);
    // Only a verified message may change the layout in which we write.
    if (this.#keys.layout === null) this.#layout = signed.layout;
    const { contentType, contentEncoding } = signed;
    if (!INNER_TYPES.has(contentType) || !isSerializerLoaded(contentType)) {
      throw refused(`it holds content of type ${shown(contentType)}`);
    }
    return deserialize(signed.body, contentType, contentEncoding, INNER_TYPES);
  }

  #unpack(body: Uint8Array | string): Signed {
    const text = typeof body === "string" ? body : new TextDecoder().decode(body);
    const raw = Buffer.from(text, "base64");
    const first = raw.indexOf(SEPARATOR);
    if (first < 0) throw refused("it has no signature");
    const name = raw.toString("utf8", 0, first);
    // Base64 contains no spaces, and every id has one before its number.
    const layout: SignedLayout = name.includes(" ") ? "5.2" : "5.5";
    let signer = name;
    let end: number;
    let signature: Uint8Array;
    const start = first + SEPARATOR.length;
    if (layout === "5.2") {
      end = start + this.#trustedAs(signer).signatureBytes;
      signature = raw.subarray(start, end);
    } else {
      signer = Buffer.from(name, "base64").toString("utf8");
      end = raw.indexOf(SEPARATOR, start);
      if (end < 0) throw refused("it has no signature");
      signature = Buffer.from(raw.toString("latin1", start, end), "base64");
    }
    const typeAt = end + SEPARATOR.length;
    const typeEnd = raw.indexOf(SEPARATOR, typeAt);
    const encodingAt = typeEnd + SEPARATOR.length;
    const encodingEnd = typeEnd < 0 ? -1 : raw.indexOf(SEPARATOR, encodingAt);
    if (encodingEnd < 0) throw refused("it lacks fields");
    return {
      layout,
      signer,
      signature,
      contentType: raw.toString("utf8", typeAt, typeEnd),
      contentEncoding: raw.toString("utf8", encodingAt, encodingEnd),
      body: raw.subarray(encodingEnd + SEPARATOR.length),
    };
  }

  #trustedAs(signer: string): Certificate {
    const found = this.#trusted.get(signer);
    if (found === undefined) throw refused(`no certificate "${shown(signer)}" is trusted`);
    if (this.#hasEnded(found)) throw refused(`the certificate "${shown(signer)}" has expired`);
    return found;
  }

  #trust(path: string, pem: string): void {
    const one = this.#certificate(pem, path);
    const known = this.#trusted.get(one.id);
    if (known !== undefined && Buffer.compare(known.x509.raw, one.x509.raw) !== 0) {
      throw new UsageError(`Cannot use certificate ${path}: another one has the same id "${one.id}"`);
    }
    if (this.#hasEnded(one)) {
      this.#keys.warn(`Certificate ${path} ("${one.id}") has expired: its messages are refused`);
    }
    // An expired certificate is kept too, so that a refusal can give the reason.
    this.#trusted.set(one.id, one);
  }

  #certificate(pem: string, where: string): Certificate {
    try {
      const x509 = new X509Certificate(pem);
      const { publicKey } = x509;
      if (publicKey.asymmetricKeyType !== "rsa") throw new UsageError("its key is not RSA");
      const bits = publicKey.asymmetricKeyDetails?.modulusLength ?? 0;
      const saltBytes = Math.ceil((bits - 1) / 8) - createHash(this.#digest).digest().length - 2;
      if (saltBytes < 0) throw new UsageError(`its key is too short for ${this.#digest}`);
      return {
        id: certificateId(x509.raw),
        x509,
        publicKey,
        endsMs: Date.parse(x509.validTo),
        signatureBytes: bits >> 3,
        saltBytes,
      };
    } catch (error) {
      throw new UsageError(`Cannot use certificate ${where}: ${firstLine(error)}`, { cause: error });
    }
  }

  #hasEnded({ endsMs }: Certificate): boolean {
    return !(this.#keys.now() < endsMs);
  }
}

/** Returns OpenSSL's name for Celery's name of a hash: `sha3_256` is `sha3-256`. Throws UsageError. */
function digestName(given: string): string {
  const name = given.toLowerCase().replaceAll("_", "-");
  if (/^sha(1|224|256|384|512|512-224|512-256|3-\d+)$/.test(name) && getHashes().includes(name)) return name;
  throw new UsageError(`Unknown security_digest "${given}"; use sha256, sha384 or sha512`);
}

function refused(reason: string): DecodeError {
  return new DecodeError(`Cannot verify signed message: ${reason}`);
}

function shown(text: string): string {
  return text.slice(0, SIGNER_SHOWN_MAX).replaceAll(/[\p{Cc}\u2028\u2029\ufffd]/gu, "?");
}
