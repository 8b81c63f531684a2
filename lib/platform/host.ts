/** Facts about the real host. */

import type { Host } from "../base/mod.ts";

/** Returns a Host that reads from the operating system. */
export function realHost(): Host {
  let hostname: string | null = null;
  return {
    get hostname() {
      return hostname ??= Deno.hostname();
    },
    pid: Deno.pid,
    get cpus() {
      return navigator.hardwareConcurrency;
    },
    get platform() {
      return `${Deno.build.os === "linux" ? "Linux" : Deno.build.os}-${Deno.osRelease()}-${Deno.build.arch}`;
    },
    loadavg() {
      const [one, five, fifteen] = Deno.loadavg();
      return [one ?? 0, five ?? 0, fifteen ?? 0];
    },
    rssBytes: () => Deno.memoryUsage().rss,
    resourceUsage() {
      // deno-lint-ignore no-process-global -- importing node:process takes 20 ms of every start
      const use = process.resourceUsage();
      return {
        userMs: use.userCPUTime / 1000,
        systemMs: use.systemCPUTime / 1000,
        maxRssKib: use.maxRSS,
        minorFaults: use.minorPageFault,
        majorFaults: use.majorPageFault,
        blocksRead: use.fsRead,
        blocksWritten: use.fsWrite,
        voluntarySwitches: use.voluntaryContextSwitches,
        involuntarySwitches: use.involuntaryContextSwitches,
      };
    },
    uptimeSeconds: () => Deno.osUptime(),
    env: (name) => Deno.env.get(name) ?? null,
    fileKind(path) {
      try {
        return Deno.statSync(path).isDirectory ? "folder" : "file";
      } catch (error) {
        if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return null;
        throw error;
      }
    },
    get cwd() {
      return Deno.cwd();
    },
  };
}
