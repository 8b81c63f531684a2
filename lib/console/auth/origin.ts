/**
 * Requests that a page of somebody else makes a browser send. What changes something must come from a page of our own,
 * and a host name that is not ours is refused, since it may be a stranger's name that points here (DNS rebinding).
 */

import { isLoopbackHost } from "../../http/mod.ts";

/** Why a request is refused; null: it is not. */
export type Refusal = { readonly status: 403 | 421; readonly error: string; readonly hint: string } | null;

const SAFE = new Set(["GET", "HEAD", "OPTIONS"]);

/** Refuses a request that changes something and comes from another site. Programs, which say neither, may. */
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

/** What hosts a server answers to. */
export interface HostRule {
  /** Names that are named: all others are refused. */
  readonly allowed: readonly string[];
  /** Without names: nobody needs to log in, so a name must be one that only points to this machine. */
  readonly isOpen: boolean;
  /** Names and addresses of this machine that it was told to listen at. */
  readonly own: readonly string[];
}

/** Refuses a request for a host that is not ours. */
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
    hint: "--allowed-hosts names those that it answers to.",
  };
}

/** "*.example.org" is every name below. */
function isHost(pattern: string, name: string): boolean {
  return pattern === name || pattern.startsWith("*.") && name.endsWith(pattern.slice(1));
}

/** An address is nobody's name: no page of a stranger has it as its origin. */
function isAddress(name: string): boolean {
  return /^\d{1,3}(\.\d{1,3}){3}$/.test(name) || /^[0-9a-f:]+$/.test(name) && name.includes(":");
}

function hostOf(origin: string): string {
  return origin.replace(/^[a-z]+:\/\//i, "").toLowerCase();
}
