/**
 * How a sandboxed isolate starts: its generated first module, and what that module hands over.
 *
 * Modules that are imported statically, or by a literal `import()`, are loaded with the permissions of the
 * program that starts the isolate, even if the isolate itself may read nothing. So the isolate starts with a
 * module generated here, whose literals are the user's modules. Until they are loaded, `Deno.env` and
 * `process.env` read from a copy of the environment, because modules read their settings there. After that
 * the real ones are back, with the declared permissions, and the copy is gone from the isolate: it comes in a
 * message and not in a module's text, which would live as long as the module.
 */

import { fileUrl, quoted } from "../base/mod.ts";
import { toJson } from "../wire/mod.ts";
import { HANDOVER, PRELUDE, type PreludeGift, SHIELD_TEXT } from "./sandbox_prelude.ts";
import { specifiersIn } from "./specifiers.ts";

/** What the first module hands over to the isolate's own code. */
export interface SandboxHandover {
  /** The host's name, which the isolate may not read itself. */
  readonly hostname: string;
  /** False: it may not connect anywhere, so it needs no passwords in URLs of the environment. */
  readonly mayDial: boolean;
  /** Returns a variable of the environment while modules are loaded, else null. */
  env(name: string): string | null;
  /** Sets the environment that modules see while they are loaded; before that it is empty. */
  beginLoading(env: Record<string, string>): void;
  /** Imports one of the sandbox's modules by its absolute path. Rejects as `import()` does. */
  importModule(path: string): Promise<Record<string, unknown>>;
  /** Ends the loading: from now on the permissions apply to the environment. Idempotent. */
  endLoading(): void;
}

/** The first module of a sandbox. It takes memory until it is released. */
export interface SandboxEntry {
  readonly url: string;
  /** The environment for `SandboxHandover.beginLoading`. */
  readonly env: Record<string, string>;
  release(): void;
}

/**
 * Returns the bytes that V8 counts in this isolate: its whole heap, including garbage, and buffers outside of
 * it.
 */
export function countedBytes(): number {
  const { heapTotal, external } = Deno.memoryUsage();
  return heapTotal + external;
}

/** Returns the used heap of this isolate and the buffers outside of it, in bytes. */
export function heapBytes(): number {
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

/** Collects this isolate's garbage, if the engine allows it. Never throws. */
export function collectGarbage(): void {
  try {
    collect ??= hiddenGc();
    collect();
  } catch {
    // Then garbage is counted as memory.
  }
}

/**
 * Frees memory that loading took and that is not used any more, including compiled code that was not used
 * lately: it takes a few milliseconds and frees a third of a new isolate's heap. Does nothing if the program
 * was started without `--expose-gc` (spawn.ts).
 */
export function shrinkHeap(): void {
  given?.({ type: "major", flavor: "last-resort" });
}

/** V8's `gc`. */
type Gc = (options?: { type: "major"; flavor: "last-resort" }) => void;

/**
 * Returns V8's `gc` if the program was started with it, and removes it from user code, which does not need
 * it.
 */
function takeGc(): Gc | null {
  const scope = globalThis as { gc?: Gc | undefined };
  const { gc } = scope;
  // The property cannot be deleted.
  if (gc !== undefined) scope.gc = undefined;
  return gc ?? null;
}

function hiddenGc(): Gc {
  process.getBuiltinModule("node:v8").setFlagsFromString("--expose-gc");
  return process.getBuiltinModule("node:vm").runInNewContext("gc") as Gc;
}

const given = takeGc();
let collect = given;

/** The options of a sandbox's first module. */
export interface SandboxEntryOptions extends Omit<PreludeGift, "specifiers"> {
  /** Absolute paths of the modules that it may import. */
  readonly modules: readonly string[];
  /** Names of environment variables that it never sees. */
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
  // Blobs and not data URLs, because the URL is part of every stack trace.
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

/**
 * Takes what the first module of a sandboxed isolate has handed over; the first call only. Null in any other
 * isolate.
 */
export function takeHandover(): SandboxHandover | null {
  const scope = globalThis as unknown as Record<string, SandboxHandover | undefined>;
  const handover = scope[HANDOVER] ?? null;
  delete scope[HANDOVER];
  return handover;
}

function blob(code: string): string {
  return URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
}
