/** Passwords out of URLs before anyone reads them. */

/** What stands for a password. Source: kombu 5.2.4 utils/url.py maybe_sanitize_url, with Celery's mask. */
const MASK = "**";

/**
 * A URL with its password shown as `**`, and so each of a list joined by `;`. The user, host and everything
 * else stay. Text that is no proper URL is masked as far as it looks like one: rather too much than too little.
 */
export function maskUrl(url: string): string {
  return url.split(";").map(maskOne).join(";");
}

function maskOne(url: string): string {
  const start = url.indexOf("://");
  if (start < 0) return url;
  const from = start + 3;
  let rest = url.slice(from);
  const authorityEnd = rest.search(/[/?#]/);
  const authority = authorityEnd < 0 ? rest : rest.slice(0, authorityEnd);
  const colon = authority.indexOf(":");
  // An unescaped "/", "?" or "#" in a password ends what a parser takes for the host; the last "@" tells. Only an "@"
  // in the value of a named parameter, behind what does look like a host and port, is left alone.
  const last = rest.lastIndexOf("@");
  const isInParameter = /^[^?]*\?(.*&)?[a-z_]{3,}=[^&]*$/i.test(rest.slice(0, Math.max(0, last)));
  const at = isHostAndPort(authority) && isInParameter && !rest.slice(0, rest.indexOf("?")).includes("@")
    ? -1
    : last;
  if (colon >= 0 && at > colon) rest = `${rest.slice(0, colon + 1)}${MASK}${rest.slice(at)}`;
  rest = rest.replace(/([?&](?:password|passwd|pwd|secret|token)=)[^&#]*/gi, `$1${MASK}`);
  return url.slice(0, from) + rest;
}

function isHostAndPort(authority: string): boolean {
  return /^(\[[^\]]*\]|[^:]*)(:\d+)?(,[^:,]*(:\d+)?)*$/.test(authority);
}
