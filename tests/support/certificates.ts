/** Keys and certificates for one test, made by openssl. */

import assert from "node:assert/strict";

/** A key and its certificate: paths of PEM files. */
export interface Signer {
  readonly key: string;
  readonly certificate: string;
}

/**
 * Makes an RSA key and a self-signed certificate in `folder`, valid for `days` (default 2). With a passphrase
 * the key is encrypted. `names`: subject alternative names in openssl's form, such as "IP:127.0.0.1".
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
      // rustls does not accept an authority as a server's own certificate.
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
