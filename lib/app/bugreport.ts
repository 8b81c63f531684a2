/**
 * The text of `report`: versions, platform and settings, secrets masked.
 *
 * Source: celery 5.2.6 app/utils.py bugreport.
 */

import { maskUrl, VERSION } from "../base/mod.ts";
import { strictRepr } from "../wire/mod.ts";
import type { AppCore } from "./core.ts";

/** Returns the report of an App in this process. */
export function bugReport(app: AppCore): string {
  const { conf, world } = app;
  const runtime = navigator.userAgent.replace("/", ":").toLowerCase();
  const lines = [
    "",
    `software -> lovage:${VERSION} ${runtime}`,
    `platform -> system:${world.host.platform} cpus:${world.host.cpus}`,
    `app      -> ${app.name} (${[...app.tasks.names()].length} tasks)`,
    `settings -> transport:${scheme(conf.broker_url)} results:${
      conf.result_backend ? maskUrl(conf.result_backend) : "disabled"
    }`,
    "",
  ];
  for (const [name, value] of Object.entries(conf.table())) lines.push(`${name}: ${strictRepr(value)}`);
  return lines.join("\n") + "\n";
}

function scheme(url: string | readonly string[] | null): string {
  const first = typeof url === "string" ? url : url?.[0] ?? "sqlite";
  return first.split(":")[0] || "sqlite";
}
