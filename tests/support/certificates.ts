/** Keys and certificates of a test's own, made by openssl. */

import assert from "node:assert/strict";

/** What signs: paths of PEM files. */
export interface Signer {
  readonly key: string;
  readonly certificate: string;
}

/**
 * Makes an RSA key and a self-signed certificate in `folder`, valid for `days` (2); with a passphrase the key is
 * encrypted. `names`: whom the certificate stands for, as openssl writes it ("IP:127.0.0.1").
 */
export async function makeSigner(
  folder: string,
  name: string,
  options: { bits?: number; passphrase?: string; subject?: string; days?: number; names?: string } = {},
): Promise<Signer> {
  const signer = { key: `${folder}/${name}.key`, certificate: `${folder}/${name}.crt` };
  const { success, stderr } = await new Deno.Command("openssl", {
    args: [
      ...[
        "req",
        "-x509",
        "-utf8",
        "-days",
        String(options.days ?? 2),
        "-newkey",
        `rsa:${options.bits ?? 2048}`,
      ],
      // A server's own certificate is no authority to rustls.
      ...(options.names === undefined ? [] : [
        ...["-addext", `subjectAltName=${options.names}`],
        ...["-addext", "basicConstraints=critical,CA:FALSE"],
      ]),
      ...["-subj", options.subject ?? `/CN=${name}`, "-keyout", signer.key, "-out", signer.certificate],
      ...(options.passphrase === undefined ? ["-nodes"] : ["-passout", `pass:${options.passphrase}`]),
    ],
    stdout: "null",
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return signer;
}
