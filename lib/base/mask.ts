/** Removes passwords from URLs before they are shown or logged. */

/**
 * The text shown in place of a password. Source: kombu 5.2.4 utils/url.py maybe_sanitize_url, with Celery's
 * mask.
 */
const MASK = "**";

/**
 * Returns a URL, or each URL of a list joined by `;`, with its password replaced by `**`. The user, host and
 * everything else stay. Text that is not a proper URL is masked as far as it looks like one, and rather too
 * much than too little.
 */
export function maskUrl(url: string): string {
  return url.split(";").map(maskOne).join(";");
}

/** Returns a text with every URL in it masked. */
export function maskUrls(text: string): string {
  return text.includes(":/") ? text.replace(/[a-z][a-z0-9+.-]{0,30}:\/+[^\s"'`]+/gi, maskUrl) : text;
}

/**
 * Returns a part of a URL in quotes for an error message, or `**` in quotes if the masked URL does not show
 * that part.
 */
export function maskedPart(url: string, part: string): string {
  return maskUrl(url).includes(part) ? `"${part}"` : `"${MASK}"`;
}

function maskOne(url: string): string {
  const start = url.indexOf("://");
  if (start < 0) return maskNoUrl(url);
  const from = start + 3;
  let rest = url.slice(from);
  const authorityEnd = rest.search(/[/?#]/);
  const authority = authorityEnd < 0 ? rest : rest.slice(0, authorityEnd);
  const colon = authority.indexOf(":");
  // An unescaped "/", "?" or "#" in a password makes a parser end the host there, so the last "@" is taken as
  // the end of the password. The exception is an "@" in the value of a named parameter after a valid host and
  // port, if the text after the "@" cannot be a host with a port or path.
  const last = rest.lastIndexOf("@");
  const isInParameter = isParameter(rest.slice(0, Math.max(0, last))) && !/[:/]/.test(rest.slice(last));
  const at = isHostAndPort(authority) && isInParameter && !rest.slice(0, rest.indexOf("?")).includes("@")
    ? -1
    : last;
  if (colon >= 0 && at > colon) rest = `${rest.slice(0, colon + 1)}${MASK}${rest.slice(at)}`;
  rest = rest.replace(/([?&](?:password|passwd|pwd|secret|token)=)[^&#]*/gi, `$1${MASK}`);
  return url.slice(0, from) + rest;
}

/**
 * Masks from the first colon to the last "@". A text without "://" is not a URL, but a mistyped one may hold
 * a password.
 */
function maskNoUrl(text: string): string {
  const colon = text.search(/:(?!\/)/);
  const at = text.lastIndexOf("@");
  return colon < 0 || at < colon ? text : `${text.slice(0, colon + 1)}${MASK}${text.slice(at)}`;
}

/** Returns true if the text ends in the value of a named query parameter. */
function isParameter(text: string): boolean {
  const query = text.indexOf("?");
  if (query < 0) return false;
  return /^[a-z_]{3,}=/i.test(text.slice(Math.max(query, text.lastIndexOf("&")) + 1));
}

function isHostAndPort(authority: string): boolean {
  return /^(\[[^\]]*\]|[^:,]*)(:\d+)?(,[^:,]*(:\d+)?)*$/.test(authority);
}
