/**
 * Refuses requests that another site makes a browser send. A request that changes something must come from
 * the console's own pages, and an unknown host name is refused, since it may be rebound to this address (DNS
 * rebinding).
 */

import { isLoopbackHost } from "../../http/mod.ts";

/** Why a request is refused; null if it is allowed. */
export type Refusal = { readonly status: 403 | 421; readonly error: string; readonly hint: string } | null;

const SAFE = new Set(["GET", "HEAD", "OPTIONS"]);

/**
 * Refuses a request that changes something and comes from another site. Programs, which send neither header,
 * are allowed.
 */
export function refuseCrossSite(request: Request): Refusal {
  if (SAFE.has(request.method)) return null;
  const site = request.headers.get("sec-fetch-site");
  const origin = request.headers.get("origin");
  const isOurs = site !== null
    ? site === "same-origin"
    : origin === null || hostOf(origin) === request.headers.get("host")?.toLowerCase();
  return isOurs ? null : {
    status: 403,
    error: "This request comes from another site",
    hint: "Actions are only taken from the console's own pages, and from programs.",
  };
}

/** Which host names a server answers to. */
export interface HostRule {
  /** Allowed names, besides loopback: if there are any, all others are refused. */
  readonly allowed: readonly string[];
  /**
   * True if no login is needed: without `allowed`, only names that can mean just this machine are answered.
   */
  readonly isOpen: boolean;
  /** This machine's name and the address that the server listens at. */
  readonly own: readonly string[];
}

/** Refuses a request for a host name that the server does not answer to. */
export function refuseHost(request: Request, { allowed, isOpen, own }: HostRule): Refusal {
  const host = (request.headers.get("host") ?? "").toLowerCase();
  const name = host.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
  if (allowed.length > 0) {
    if (allowed.some((one) => isHost(one.toLowerCase(), name)) || isLoopbackHost(name)) return null;
  } else if (!isOpen || name === "" || isLoopbackHost(name) || own.includes(name) || isAddress(name)) {
    return null;
  }
  return {
    status: 421,
    error: `This console does not answer to the name "${name.slice(0, 100)}"`,
    hint: "Name it with --allowed-hosts.",
  };
}

/** Returns true if a name equals a pattern; "*.example.org" matches every name below example.org. */
function isHost(pattern: string, name: string): boolean {
  return pattern === name || pattern.startsWith("*.") && name.endsWith(pattern.slice(1));
}

/** Returns true for an IP address, which cannot be rebound as a name can. */
function isAddress(name: string): boolean {
  return /^\d{1,3}(\.\d{1,3}){3}$/.test(name) || /^[0-9a-f:]+$/.test(name) && name.includes(":");
}

function hostOf(origin: string): string {
  return origin.replace(/^[a-z]+:\/\//i, "").toLowerCase();
}
