/** The place at which HTTP is served, as options give it. */

import { UsageError } from "../base/mod.ts";

/** A place to serve at. `cert` and `key` are paths of PEM files, which are read again when they change. */
export type HttpPlace =
  | {
    readonly kind: "tcp";
    readonly host: string;
    readonly port: number;
    readonly tls: { readonly cert: string; readonly key: string } | null;
  }
  | { readonly kind: "unix"; readonly path: string };

/** Returns true if only this machine can connect. */
export function isLoopback(place: HttpPlace): boolean {
  return place.kind === "unix" || isLoopbackHost(place.host);
}

/** Returns true for "localhost" and its subdomains, 127.0.0.0/8 and ::1. */
export function isLoopbackHost(host: string): boolean {
  const name = host.replace(/^\[|\]$/g, "").toLowerCase();
  return name === "localhost" || name.endsWith(".localhost") || name === "::1" ||
    name === "::ffff:127.0.0.1" ||
    /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name);
}

/** Returns a place as a person opens it: `http://127.0.0.1:5555`, `unix:/path`. */
export function placeUrl(place: HttpPlace, port: number): string {
  if (place.kind === "unix") return `unix:${place.path}`;
  const host = place.host.includes(":") ? `[${place.host}]` : place.host;
  const shown = host === "0.0.0.0" || host === "[::]" ? "localhost" : host;
  return `${place.tls === null ? "http" : "https"}://${shown}:${port}`;
}

/** Checks a port given as text; 0 means any free port. Throws UsageError. */
export function portOf(text: string, what: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port <= 65_535) return port;
  throw new UsageError(`Cannot use ${what} "${text}": a port is a whole number from 0 to 65535`);
}
