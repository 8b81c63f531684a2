/**
 * A certificate's name in signed messages: the values of its issuer, joined by spaces, and its serial number
 * in decimal.
 *
 * Read directly from DER, since libraries sort, escape and join the parts of an issuer in their own ways.
 *
 * Source: celery 5.2.6 security/certificate.py Certificate.get_id; RFC 5280 4.1 (TBSCertificate).
 */

import { type DerElement, derElements, derInteger } from "./der.ts";
import { DecodeError } from "../errors.ts";

const INTEGER = 0x02;
const TELETEX_STRING = 0x14;
const UNIVERSAL_STRING = 0x1c;
const BMP_STRING = 0x1e;
/** `[0] version`, which certificates of version 1 omit. */
const VERSION = 0xa0;

/**
 * Returns the id of a DER certificate, such as "DE Shop alice 1783976". Throws DecodeError if it is not a
 * certificate.
 */
export function certificateId(der: Uint8Array): string {
  const [toBeSigned] = derElements(derElements(der)[0]?.content ?? new Uint8Array());
  const fields = derElements(toBeSigned?.content ?? new Uint8Array());
  if (fields[0]?.tag === VERSION) fields.shift();
  const [serial, , issuer] = fields;
  if (serial?.tag !== INTEGER || issuer === undefined) {
    throw new DecodeError("Cannot decode certificate: it is not an X.509 certificate");
  }
  const values = derElements(issuer.content)
    .flatMap((set) => derElements(set.content))
    .map((attribute) => derElements(attribute.content)[1])
    .filter((value) => value !== undefined);
  return `${values.map(text).join(" ")} ${derInteger(serial.content)}`;
}

function text({ tag, content }: DerElement): string {
  if (tag === BMP_STRING) return new TextDecoder("utf-16be").decode(content);
  if (tag === UNIVERSAL_STRING) {
    let letters = "";
    const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
    for (let at = 0; at + 4 <= content.length; at += 4) letters += String.fromCodePoint(view.getUint32(at));
    return letters;
  }
  return new TextDecoder(tag === TELETEX_STRING ? "latin1" : "utf-8").decode(content);
}
