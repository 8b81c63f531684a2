/** URLs as people give them, read as Python reads them: Celery's own readers take no offence, so ours take none. */

/**
 * Undoes percent escapes: each run of them is UTF-8, and a "%" that escapes nothing stands for itself. Never throws.
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
 * A URL without what a file, a secret or a line of YAML leaves around and in it: blanks at its ends, tabs, line ends.
 *
 * Source: Python 3 urllib.parse.urlsplit.
 */
export function trimmedUrl(url: string): string {
  return url.replaceAll(/[\t\r\n]/g, "").replaceAll(BLANK_ENDS, "");
}

const UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });
const BLANK_ENDS = /^[\0- ]+|[\0- ]+$/g;
