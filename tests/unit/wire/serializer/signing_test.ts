/** The `auth` serializer: what Celery signed is believed, and nothing else that anybody could make of it. */

import assert from "node:assert/strict";
import { makeSigner } from "../../../support/certificates.ts";
import {
  acceptedTypes,
  ContentDisallowed,
  DecodeError,
  deserialize,
  loadSerializer,
  offerSigning,
  serialize,
  type SigningKeys,
} from "../../../../lib/wire/mod.ts";
import { golden } from "../golden.ts";
import { temporaryFolder } from "../../../support/temporary.ts";

const folder = temporaryFolder();
const alice = await makeSigner(folder, "alice", { subject: "/C=DE/O=Shöp, Inc/CN=alice" });
const bob = await makeSigner(folder, "bob", { bits: 3072, passphrase: "open sesame" });
const text = (path: string) => Deno.readTextFileSync(path);
const ACCEPT = acceptedTypes(["auth"]);
const NOW = Date.now();

const keys = (changes: Partial<SigningKeys> = {}): SigningKeys => ({
  key: text(alice.key),
  keyPassword: null,
  certificate: text(alice.certificate),
  store: [{ path: "alice.crt", pem: text(alice.certificate) }],
  digest: "sha256",
  serializer: "json",
  layout: null,
  now: () => NOW,
  warn: () => {},
  ...changes,
});
const use = async (changes: Partial<SigningKeys> = {}) => {
  offerSigning(() => keys(changes));
  await loadSerializer("auth");
};
const sign = (value: unknown) => serialize(value, "auth").body as string;
const read = (body: string) => deserialize(body, "application/data", "utf-8", ACCEPT);

Deno.test("auth: what Celery 5.2.6 signed is read, and answered in its layout", async () => {
  const [one] = golden("signed-5.2.6") as unknown as {
    body: string;
    certificate_pem: string;
    cert_id: string;
  }[];
  await use({ store: [{ path: "vectors.crt", pem: one!.certificate_pem }] });
  assert.ok(atob(sign(1)).startsWith(btoa("DE ")), "before anything was heard: the newer layout");
  assert.deepEqual(read(one!.body), [1, 2]);
  assert.ok(atob(sign(1)).startsWith("DE Sh"), "then as it was heard");
  assert.ok(atob(one!.body).startsWith(one!.cert_id));
});

Deno.test("auth: both layouts, several keys and digests, and any content", async () => {
  const value = [["č\u0000\u0001", 1.5], { a: null }, { chord: null }];
  for (const layout of ["5.2", "5.5"] as const) {
    for (const digest of ["sha256", "SHA512", "sha3_256"]) {
      await use({
        layout,
        digest,
        key: text(bob.key),
        keyPassword: "open sesame",
        certificate: text(bob.certificate),
        store: [alice, bob].map(({ certificate }) => ({ path: certificate, pem: text(certificate) })),
      });
      const { body, contentType, contentEncoding } = serialize(value, "auth");
      assert.deepEqual([contentType, contentEncoding], ["application/data", "utf-8"]);
      assert.deepEqual(read(body as string), value);
      assert.deepEqual(
        deserialize(new TextEncoder().encode(body as string), contentType, contentEncoding, ACCEPT),
        value,
      );
      assert.ok(Uint8Array.fromBase64(body as string).length > 384 + 20);
    }
  }
});

Deno.test("auth: a change of any byte, another's signature, and what is not signed are refused", async () => {
  await use();
  const body = sign([["pay", 10], {}, null]);
  const bytes = Uint8Array.fromBase64(body);
  for (let n = 0; n < bytes.length; n++) {
    const changed = bytes.slice();
    changed[n]! ^= 0x15;
    // The inner types are not signed over: a change there may still be the same type, and never another value.
    let value: unknown;
    try {
      value = read(changed.toBase64());
    } catch (error) {
      assert.ok(error instanceof DecodeError, String(error));
      continue;
    }
    assert.deepEqual(value, [["pay", 10], {}, null], `byte ${n}`);
  }
  for (let n = 0; n < body.length; n += 7) assert.throws(() => read(body.slice(0, n)), DecodeError);
  for (const other of ["", "hello", "AAEAAQABAAE=", btoa("a b\0\x01"), btoa('[["pay"],{},null]')]) {
    assert.throws(() => read(other), DecodeError);
  }
  assert.throws(() => deserialize("[]", "application/json", "utf-8", ACCEPT), ContentDisallowed);

  await use({ key: text(bob.key), keyPassword: "open sesame", certificate: text(bob.certificate) });
  const forged = sign([["pay", 1000], {}, null]);
  assert.throws(() => read(forged), /Cannot verify signed message: no certificate "bob \d+" is trusted/);
});

Deno.test("auth: a certificate that ends while we run is believed no longer", async () => {
  let now = NOW;
  await use({ now: () => now });
  const body = sign([1]);
  assert.deepEqual(read(body), [1]);
  now += 3 * 86_400_000;
  assert.throws(() => read(body), /the certificate "DE Shöp, Inc alice \d+" has expired/);
});

Deno.test("auth: a certificate of the store that has expired is warned of, and one of our own is refused", async () => {
  const own = await makeSigner(folder, "own", { days: 9 });
  const warnings: string[] = [];
  await use({
    now: () => NOW + 3 * 86_400_000,
    key: text(own.key),
    certificate: text(own.certificate),
    store: [alice, own].map(({ certificate }) => ({ path: certificate, pem: text(certificate) })),
    warn: (warning) => warnings.push(warning),
  });
  assert.equal(warnings.length, 1);
  assert.match(warnings[0]!, /^Certificate .*\/alice\.crt \("DE Shöp, Inc alice \d+"\) has expired: /);
  await assert.rejects(
    use({ now: () => NOW + 3 * 86_400_000 }),
    /security_certificate "DE Shöp, Inc alice \d+" has expired/,
  );
});

Deno.test("auth: what is inside may be nothing that runs, nor raw", async () => {
  await use();
  const fields = atob(sign("abc")).split("\0\x01");
  assert.equal(fields.length, 5);
  for (const type of ["application/x-python-serialize", "application/data", "text/plain", ""]) {
    fields[2] = type;
    assert.throws(() => read(btoa(fields.join("\0\x01"))), /it holds content of type/);
  }
});

Deno.test("auth: keys that cannot be used are one clear line without the key in it", async () => {
  const wrong: [Partial<SigningKeys>, RegExp][] = [
    [{ key: "nonsense" }, /^Cannot use security_key: it is not a private key in PEM$/],
    [
      { key: text(bob.key) },
      /^Cannot use security_key: it is encrypted, and security_key_password is not given$/,
    ],
    [
      { key: text(bob.key), keyPassword: "guess" },
      /^Cannot use security_key: security_key_password does not open it$/,
    ],
    [
      { key: text(bob.key), keyPassword: "open sesame" },
      /^security_key is not the key of security_certificate$/,
    ],
    [{ certificate: "nonsense" }, /^Cannot use certificate security_certificate: /],
    [{ store: [] }, /^security_cert_store holds no certificates: no message could be verified$/],
    [{ store: [{ path: "x.key", pem: text(alice.key) }] }, /^Cannot use certificate x\.key: /],
    [{ digest: "md5" }, /^Unknown security_digest "md5"; use sha256, sha384 or sha512$/],
    [{ serializer: "auth" }, /^Cannot sign what serializer "auth" makes; use json$/],
  ];
  for (const [changes, expected] of wrong) {
    const error = await use(changes).then(() => null, (reason: Error) => reason);
    assert.match(error?.message ?? "", expected);
    assert.doesNotMatch(error!.message, /sesame|guess|BEGIN|\n/);
  }
});
