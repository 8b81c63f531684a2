/**
 * Node names (`celery@web1.example.org`) and the `%` forms that name files by them.
 *
 * Source: celery 5.2.6 celery/utils/nodenames.py, celery/utils/text.py simple_format; protocol.md 10.5.
 */

import { UsageError } from "./errors.ts";

const NODENAME_DEFAULT = "celery";

/** The two halves of a node name; `name` is null where there is no `@` (the text is the host then). */
export function nodesplit(nodename: string): { name: string | null; host: string } {
  const at = nodename.indexOf("@");
  if (at < 0) return { name: null, host: nodename };
  return { name: nodename.slice(0, at), host: nodename.slice(at + 1) };
}

/**
 * The node name for `-n text`: a missing name is `celery`, a missing host is `hostname`, and a text without `@` is
 * the host part. `%` forms are not touched.
 */
export function defaultNodename(text: string | null, hostname: string): string {
  const { name, host } = nodesplit(text ?? "");
  return `${name || NODENAME_DEFAULT}@${host || hostname}`;
}

/** The name of a process that is not a worker: `gen4711@host`. */
export function anonNodename(pid: number, hostname: string): string {
  return `gen${pid}@${hostname}`;
}

/**
 * Expands the `%h` (full host), `%n` (host before its first dot) and `%d` (the rest) of a `-n` argument, and
 * completes it to a node name. Throws `UsageError` on another letter.
 */
export function workerNodename(text: string | null, hostname: string): string {
  if (text === null || text === "") return defaultNodename(null, hostname);
  return defaultNodename(
    hostFormat(text, { host: hostname, name: null, nodename: null, index: 0 }),
    hostname,
  );
}

/**
 * Expands a log or pid file's name for a node: `%h` host, `%n` name, `%d` the host's domain part, `%p` the whole node
 * name, `%i` the pool slot's index (0 in the parent), `%I` the same with a dash and empty in the parent; `%%` is a
 * percent sign, as is one before something else than a letter or digit. Throws `UsageError` on another letter. (In
 * Celery `%%` stays as it is, and a path with a percent sign before a letter cannot be given.)
 */
export function nodeFormat(text: string, nodename: string, options: { index?: number } = {}): string {
  const { name, host } = nodesplit(nodename);
  return hostFormat(text, { host, name: name ?? NODENAME_DEFAULT, nodename, index: options.index ?? 0 });
}

/** The queue that reaches one worker alone (`worker_direct`): name, exchange and routing key. */
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
