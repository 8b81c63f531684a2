/** Decodes URLs as Python does. Celery's readers accept stray percent signs and blanks, so ours do too. */

/**
 * Decodes percent escapes. Each run of them is read as UTF-8; a "%" that starts no escape stays as it is.
 * Never throws.
 *
 * Source: Python 3 urllib.parse.unquote.
 */
export function unquote(text: string): string {
  return text.replaceAll(
    /(?:%[0-9A-Fa-f]{2})+/g,
    (run) => UTF8.decode(Uint8Array.fromHex(run.replaceAll("%", ""))),
  );
}

/**
 * Returns a URL without blanks at its ends and without tabs and line ends, which a file, a secret or a line
 * of YAML may add.
 *
 * Source: Python 3 urllib.parse.urlsplit.
 */
export function trimmedUrl(url: string): string {
  return url.replaceAll(/[\t\r\n]/g, "").replaceAll(BLANK_ENDS, "");
}

const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });
const BLANK_ENDS = /^[\0- ]+|[\0- ]+$/g;
