/** Facts about the host, from Node. */

import { type Host, nodeFs, nodeOs } from "../../base/mod.ts";

/** Returns a Host on node:os and the process. */
export function nodeHost(): Host {
  const os = nodeOs();
  let hostname: string | null = null;
  return {
    get hostname() {
      return hostname ??= os.hostname();
    },
    pid: process.pid,
    get cpus() {
      return os.availableParallelism();
    },
    get platform() {
      return `${os.type()}-${os.release()}-${os.arch()}`;
    },
    loadavg() {
      const [one, five, fifteen] = os.loadavg();
      return [one ?? 0, five ?? 0, fifteen ?? 0];
    },
    rssBytes: () => process.memoryUsage.rss(),
    uptimeSeconds: () => os.uptime(),
    env: (name) => process.env[name] ?? null,
    fileKind(path) {
      const stats = nodeFs().statSync(path, { throwIfNoEntry: false });
      return stats === undefined ? null : stats.isDirectory() ? "folder" : "file";
    },
    get cwd() {
      return process.cwd();
    },
  };
}
