/**
 * How a sandboxed isolate comes up: the module it begins with, made for it, and what that module hands on.
 *
 * What is imported statically, or by a literal `import()`, is loaded with the permissions of the program that starts
 * the isolate, also where the isolate itself may read nothing. So the isolate begins with a module made here, whose
 * literals are the user's modules. Until they are loaded, `Deno.env` and `process.env` answer from a copy: modules
 * read their settings there. Afterwards the real ones are back, with the permissions that were declared, and the copy
 * is nowhere in the isolate any more: it comes as a message, not in a module's text, which lives as long as the module.
 */

import { fileUrl, quoted } from "../base/mod.ts";
import { toJson } from "../wire/mod.ts";
import { HANDOVER, PRELUDE, type PreludeGift, SHIELD_TEXT } from "./sandbox_prelude.ts";
import { specifiersIn } from "./specifiers.ts";

/** What the first module hands to the isolate's own code. */
export interface SandboxHandover {
  /** The host's name, which the isolate may not ask for. */
  readonly hostname: string;
  /** False: no password of a URL in the environment is of use to it. */
  readonly mayDial: boolean;
  /** A variable of the environment while modules are loaded, else null. */
  env(name: string): string | null;
  /** The environment as modules may see it while they are loaded; before it there is none. */
  beginLoading(env: Record<string, string>): void;
  /** Imports one of the modules that the sandbox was made for, by its absolute path. */
  importModule(path: string): Promise<Record<string, unknown>>;
  /** All modules are loaded: the environment is what the permissions say. Idempotent. */
  endLoading(): void;
}

/** A first module; it takes memory until it is released. */
export interface SandboxEntry {
  readonly url: string;
  /** What the isolate is to be told before it loads: see `SandboxHandover.beginLoading`. */
  readonly env: Record<string, string>;
  release(): void;
}

/** What V8 counts in this isolate, bytes: its whole heap, garbage included, and the buffers beside it. */
export function countedBytes(): number {
  const { heapTotal, external } = Deno.memoryUsage();
  return heapTotal + external;
}

/** The heap of this isolate in bytes: what lives, and buffers beside it. */
export function heapBytes(): number {
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

/** Collects this isolate's garbage where the engine lets us. */
export function collectGarbage(): void {
  try {
    collect ??= hiddenGc();
    collect();
  } catch {
    // Then garbage counts as memory.
  }
}

/**
 * Gives back what loading took and nobody holds, compiled code that was not used lately as well: a few milliseconds
 * for a third of a new isolate's heap. Nothing happens where the program was not started for it (spawn.ts).
 */
export function shrinkHeap(): void {
  given?.({ type: "major", flavor: "last-resort" });
}

/** V8's `gc`. */
type Gc = (options?: { type: "major"; flavor: "last-resort" }) => void;

/** V8's `gc`, where the program was started with it; it is taken away from user code, which has no use for it. */
function takeGc(): Gc | null {
  const scope = globalThis as { gc?: Gc | undefined };
  const { gc } = scope;
  // It cannot be deleted.
  if (gc !== undefined) scope.gc = undefined;
  return gc ?? null;
}

function hiddenGc(): Gc {
  process.getBuiltinModule("node:v8").setFlagsFromString("--expose-gc");
  return process.getBuiltinModule("node:vm").runInNewContext("gc") as Gc;
}

const given = takeGc();
let collect = given;

/** What a sandbox begins with. */
export interface SandboxEntryOptions extends Omit<PreludeGift, "specifiers"> {
  /** Absolute paths of what it may import. */
  readonly modules: readonly string[];
  /** Variables of the environment that it never sees. */
  readonly hidden: readonly string[];
}

/** Makes the first module of a sandbox. `entry` is the isolate's own code. */
export function sandboxEntry(entry: URL, options: SandboxEntryOptions): SandboxEntry {
  const env = Deno.env.toObject();
  for (const name of options.hidden) delete env[name];
  const { hostname, mayDial, maySignal, mayImport, mayKeep } = options;
  const imports = options.modules.map((path) => `${quoted(path)}: () => import(${quoted(fileUrl(path))})`);
  const specifiers = mayImport ? [] : specifiersIn(options.modules);
  const given = toJson(
    { hostname, mayDial, maySignal, mayImport, mayKeep, specifiers } satisfies PreludeGift,
  );
  // Blobs, not data URLs: an address shows in every stack.
  const gifts = `const given = ${given}, text = ${quoted(SHIELD_TEXT)};\n`;
  const prelude = blob(`${gifts}const modules = { ${imports.join(", ")} };\n${PRELUDE}`);
  const url = blob(`import ${quoted(prelude)};\nimport ${quoted(entry.href)};\n`);
  return {
    url,
    env,
    release(): void {
      URL.revokeObjectURL(prelude);
      URL.revokeObjectURL(url);
    },
  };
}

/** In a sandboxed isolate: what its first module handed on, once. Null in any other. */
export function takeHandover(): SandboxHandover | null {
  const scope = globalThis as unknown as Record<string, SandboxHandover | undefined>;
  const handover = scope[HANDOVER] ?? null;
  delete scope[HANDOVER];
  return handover;
}

function blob(code: string): string {
  return URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
}
