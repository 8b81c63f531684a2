/** Facts of the real host. */

import type { Host } from "../base/mod.ts";

/** A Host on what the operating system says. */
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
    env: (name) => Deno.env.get(name) ?? null,
    get cwd() {
      return Deno.cwd();
    },
  };
}
