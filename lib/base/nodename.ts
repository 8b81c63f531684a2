/**
 * Node names (`celery@web1.example.org`) and the `%` forms that put them into file names.
 *
 * Source: celery 5.2.6 celery/utils/nodenames.py, celery/utils/text.py simple_format; protocol.md 10.5.
 */

import { UsageError } from "./errors.ts";

const NODENAME_DEFAULT = "celery";

/** Splits a node name in two. `name` is null if there is no `@`; the text is the host then. */
export function nodesplit(nodename: string): { name: string | null; host: string } {
  const at = nodename.indexOf("@");
  if (at < 0) return { name: null, host: nodename };
  return { name: nodename.slice(0, at), host: nodename.slice(at + 1) };
}

/**
 * Returns the node name for `-n text`. A missing name becomes `celery`, a missing host becomes `hostname`,
 * and a text without `@` is the host. `%` forms stay as they are.
 */
export function defaultNodename(text: string | null, hostname: string): string {
  const { name, host } = nodesplit(text ?? "");
  return `${name || NODENAME_DEFAULT}@${host || hostname}`;
}

/** Returns the node name of a process that is not a worker: `gen4711@host`. */
export function anonNodename(pid: number, hostname: string): string {
  return `gen${pid}@${hostname}`;
}

/**
 * Expands `%h` (full host), `%n` (host up to its first dot), `%d` (the rest), `%i` (`0`), `%I` (empty) and
 * `%%` (a percent sign) in a `-n` argument, and completes it to a node name. Throws `UsageError` on another
 * letter.
 */
export function workerNodename(text: string | null, hostname: string): string {
  if (text === null || text === "") return defaultNodename(null, hostname);
  return defaultNodename(
    hostFormat(text, { host: hostname, name: null, nodename: null, index: 0 }),
    hostname,
  );
}

/**
 * Expands the name of a log or pid file for a node: `%h` host, `%n` name, `%d` the host's domain, `%p` the
 * whole node name, `%i` the pool slot's index (0 in the parent), `%I` the index after a dash (empty in the
 * parent), `%%` a percent sign. A percent sign before anything but a letter, digit or underscore stays as it
 * is. Throws `UsageError` on another letter. (Celery leaves `%%` as it is, so a path with a percent sign
 * before a letter cannot be given there.)
 */
export function nodeFormat(text: string, nodename: string, options: { index?: number } = {}): string {
  const { name, host } = nodesplit(nodename);
  return hostFormat(text, { host, name: name ?? NODENAME_DEFAULT, nodename, index: options.index ?? 0 });
}

/** Returns the queue that reaches only one worker (`worker_direct`): name, exchange and routing key. */
export function workerDirect(nodename: string): { queue: string; exchange: string; routingKey: string } {
  return { queue: `${nodename}.dq2`, exchange: "C.dq2", routingKey: nodename };
}

function hostFormat(
  text: string,
  parts: { host: string; name: string | null; nodename: string | null; index: number },
): string {
  const dot = parts.host.indexOf(".");
  const short = dot < 0 ? parts.host : parts.host.slice(0, dot);
  const domain = dot < 0 ? "" : parts.host.slice(dot + 1);
  return text.replace(/%([\w%])/g, (whole, letter: string) => {
    switch (letter) {
      case "h":
        return parts.host;
      case "n":
        return parts.name ?? short;
      case "d":
        return domain;
      case "i":
        return String(parts.index);
      case "I":
        return parts.index > 0 ? `-${parts.index}` : "";
      case "%":
        return "%";
      case "p":
        if (parts.nodename !== null) return parts.nodename;
    }
    throw new UsageError(`Unknown format ${whole} in "${text}": write %% for a percent sign`);
  });
}
