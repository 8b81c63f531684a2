/**
 * Paths and `file:` URLs, one made of the other. The path in a URL is encoded: a space is `%20` there, and `#` and `?`
 * end it. So a URL's `pathname` is never used as a path, nor a path put into a URL as it is.
 */

/** The `file:` URL of an absolute path, whatever characters it holds. */
export function fileUrl(path: string): string {
  return `file://${path.split("/").map(encodeURIComponent).join("/")}`;
}

/**
 * The absolute path that a `file:` URL names. Throws TypeError for another scheme or host, a wrong escape, and an
 * escaped slash. Ours, since loading node:url takes 20 ms.
 */
export function filePath(url: URL | string): string {
  const { href, protocol, host, pathname } = new URL(url);
  if (protocol !== "file:" || host !== "" || /%2f/i.test(pathname)) {
    throw new TypeError(`Cannot read "${href}" as the URL of a file`);
  }
  try {
    return decodeURIComponent(pathname);
  } catch (cause) {
    throw new TypeError(`Cannot read "${href}": a wrong % escape`, { cause });
  }
}
