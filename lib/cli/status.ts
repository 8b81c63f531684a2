/**
 * `lovage status`: shows which workers are online. `--local` reads only files of this machine, and loads
 * nothing else.
 *
 * Source: celery 5.2.6 bin/control.py status; `--min`, `--wait` and `--local` are ours.
 */

import { shownLine, UsageError } from "../base/mod.ts";
import { EXIT, foldersOf, type LocalNode, localNodes } from "../platform/mod.ts";
import { command, type CommandContext } from "./command.ts";
import { jsonLine } from "./output.ts";
import { STATUS_OPTIONS } from "./remote_options.ts";

/** The command. */
export const status = command({
  arguments: [{ name: "node", help: "with --local: only this node" }],
  options: STATUS_OPTIONS,
  isModuleUnused: ({ local }) => local === true,

  validate([node], { local }) {
    if (node !== undefined && !local) {
      throw new UsageError(`Too many arguments: "${node}": name a node with --destination, or with --local`);
    }
  },

  async run(context, options): Promise<number> {
    if (options.local) return local(context, options.json ?? false);
    const { remoteStatus } = await import("./status_remote.ts");
    return await remoteStatus(context, options);
  },
});

function local({ world: { clock, host, terminal }, args: [name] }: CommandContext, isJson: boolean): number {
  const all = localNodes(host, clock.wallMs());
  const nodes = name === undefined
    ? all
    : all.filter(({ node }) => node === name || node.startsWith(`${name}@`));
  if (isJson) {
    terminal.out(
      jsonLine(nodes.map((node) => ({ ...node, ageMs: undefined, age: Math.round(node.ageMs) / 1000 }))),
    );
  } else for (const node of nodes) terminal.out(`${lineOf(node)}\n`);
  if (nodes.length === 0) {
    const which = name === undefined ? "No node has" : `"${name}" has not`;
    terminal.err(
      `Error: ${which} run on this machine as this user; looked in ${foldersOf(host).join(", ")}\n`,
    );
  }
  return nodes.length > 0 && nodes.every(({ isTurning }) => isTurning) ? EXIT.OK : EXIT.FAILURE;
}

function lineOf({ node, kind, state, pid, isAlive, isTurning, ageMs }: LocalNode): string {
  const seconds = `${Math.round(ageMs / 1000)} s`;
  const found = isTurning
    ? `OK, ${state}`
    : isAlive
    ? `does not respond: last seen ${seconds} ago, ${state}`
    : `gone: its process has ended, last seen ${seconds} ago`;
  return shownLine(`${node}: ${found} (${kind}, pid ${pid})`);
}
