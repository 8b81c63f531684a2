/**
 * `lovage report`: prints versions, platform and settings, with secrets masked.
 *
 * Source: celery 5.2.6 app/utils.py bugreport (layout).
 */

import { maskUrl, VERSION } from "../base/mod.ts";
import { EXIT, packedFolder, selfPath } from "../platform/mod.ts";
import { command, JSON_OPTION } from "./command.ts";
import { jsonLine, plain } from "./output.ts";

/** The command. */
export const report = command({
  options: JSON_OPTION,

  async run({ world, module, loadApp }, { json }): Promise<number> {
    await using app = await loadApp();
    const facts = {
      software: {
        lovage: VERSION,
        deno: Deno.version.deno,
        v8: Deno.version.v8,
        typescript: Deno.version.typescript,
      },
      platform: {
        system: world.host.platform,
        cpus: world.host.cpus,
        program: selfPath() ?? "deno run",
        folder: packedFolder(),
      },
      app: { name: app.name, module, tasks: [...app.tasks.names()].length },
      settings: app.conf.table({ withDefaults: false }),
    };
    const { out } = world.terminal;
    if (json) {
      out(jsonLine(facts));
      return EXIT.OK;
    }
    const { software, platform } = facts;
    out(
      `\nsoftware -> lovage:${software.lovage} deno:${software.deno} v8:${software.v8} ` +
        `typescript:${software.typescript}\n` +
        `platform -> system:${platform.system} cpus:${platform.cpus} program:${platform.program}` +
        `${platform.folder === null ? "" : ` unpacked:${platform.folder}`}\n` +
        `app      -> ${app.name} (${facts.app.tasks} tasks) from ${facts.app.module ?? "no module"}\n` +
        `settings -> transport:${scheme(app.conf.broker_url)} results:${masked(app.conf.result_backend)}\n\n`,
    );
    for (const [name, value] of Object.entries(facts.settings)) out(`${name}: ${plain(value)}\n`);
    out("\n");
    return EXIT.OK;
  },
});

function first(url: unknown): string | null {
  const one = Array.isArray(url) ? url[0] : url;
  return typeof one === "string" && one !== "" ? one.split(";")[0]! : null;
}

function scheme(url: unknown): string {
  return first(url)?.split(":")[0] ?? "sqlite";
}

function masked(url: unknown): string {
  const one = first(url);
  return one === null ? "default" : maskUrl(one);
}
