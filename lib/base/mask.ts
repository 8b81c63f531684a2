/** Passwords out of URLs before anyone reads them. */

/** What stands for a password. Source: kombu 5.2.4 utils/url.py maybe_sanitize_url, with Celery's mask. */
const MASK = "**";

/**
 * A URL with its password shown as `**`, and so each of a list joined by `;`. The user, host and everything
 * else stay. Text that is not a proper URL is masked as far as it looks like one: rather too much than too little.
 */
export function maskUrl(url: string): string {
  return url.split(";").map(maskOne).join(";");
}

/** A text with every URL in it masked. */
export function maskUrls(text: string): string {
  return text.includes(":/") ? text.replace(/[a-z][a-z0-9+.-]{0,30}:\/+[^\s"'`]+/gi, maskUrl) : text;
}

/** A part of a URL in quotes, as an error may show it: only what the masked URL shows too. */
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
  // An unescaped "/", "?" or "#" in a password ends what a parser takes for the host; the last "@" tells. Only an "@"
  // in the value of a named parameter, behind what does look like a host and port, is left alone, and only if what
  // follows it could not be a host with a port or path.
  const last = rest.lastIndexOf("@");
  const isInParameter = isParameter(rest.slice(0, Math.max(0, last))) && !/[:/]/.test(rest.slice(last));
  const at = isHostAndPort(authority) && isInParameter && !rest.slice(0, rest.indexOf("?")).includes("@")
    ? -1
    : last;
  if (colon >= 0 && at > colon) rest = `${rest.slice(0, colon + 1)}${MASK}${rest.slice(at)}`;
  rest = rest.replace(/([?&](?:password|passwd|pwd|secret|token)=)[^&#]*/gi, `$1${MASK}`);
  return url.slice(0, from) + rest;
}

/** What has no "://" is not a URL, but a mistyped one may hold a password: all from the first colon to the last "@". */
function maskNoUrl(text: string): string {
  const colon = text.search(/:(?!\/)/);
  const at = text.lastIndexOf("@");
  return colon < 0 || at < colon ? text : `${text.slice(0, colon + 1)}${MASK}${text.slice(at)}`;
}

/** True where a text ends in the value of a named parameter. */
function isParameter(text: string): boolean {
  const query = text.indexOf("?");
  if (query < 0) return false;
  return /^[a-z_]{3,}=/i.test(text.slice(Math.max(query, text.lastIndexOf("&")) + 1));
}

function isHostAndPort(authority: string): boolean {
  return /^(\[[^\]]*\]|[^:,]*)(:\d+)?(,[^:,]*(:\d+)?)*$/.test(authority);
}
