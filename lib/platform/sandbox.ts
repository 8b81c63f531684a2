/**
 * How a sandboxed isolate comes up: the module it begins with, made for it, and what that module hands on.
 *
 * What is imported statically, or by a literal `import()`, is loaded with the permissions of the program that starts
 * the isolate, also where the isolate itself may read nothing. So the isolate begins with a module made here, whose
 * literals are the user's modules. Until they are loaded, `Deno.env` and `process.env` answer from a copy: modules
 * read their settings there. Afterwards the real ones are back, with the permissions that were declared.
 */

const HANDOVER = "__lovageSandbox";

/** What the first module hands to the isolate's own code. */
export interface SandboxHandover {
  /** The host's name, which the isolate may not ask for. */
  readonly hostname: string;
  /** A variable of the environment while modules are loaded, else null. */
  env(name: string): string | null;
  /** Imports one of the modules that the sandbox was made for, by its absolute path. */
  importModule(path: string): Promise<Record<string, unknown>>;
  /** All modules are loaded: the environment is what the permissions say. Idempotent. */
  endLoading(): void;
}

/** A first module; it takes memory until it is released. */
export interface SandboxEntry {
  readonly url: string;
  release(): void;
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

/**
 * Makes the first module of a sandbox. `entry` is the isolate's own code; `modules` are absolute paths of what it may
 * import; `maySignal` leaves the functions that signal processes alone.
 */
export function sandboxEntry(
  entry: URL,
  options: { modules: readonly string[]; hostname: string; maySignal: boolean; hidden: readonly string[] },
): SandboxEntry {
  const env = Deno.env.toObject();
  for (const name of options.hidden) delete env[name];
  const imports = options.modules.map((path) => {
    const url = JSON.stringify(`file://${path.split("/").map(encodeURIComponent).join("/")}`);
    return `${JSON.stringify(path)}: () => import(${url})`;
  });
  const given = JSON.stringify({ env, hostname: options.hostname, maySignal: options.maySignal });
  // Blobs, not data URLs: an address shows in every stack, and the environment holds passwords.
  const prelude = blob(`const given = ${given};\nconst modules = { ${imports.join(", ")} };\n${PRELUDE}`);
  const url = blob(`import ${JSON.stringify(prelude)};\nimport ${JSON.stringify(entry.href)};\n`);
  return {
    url,
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

// Text, since it runs before any module of ours is there. A process may signal itself without the permission to run
// programs, and an isolate is a part of its process.
const PRELUDE = `
const { env, hostname, maySignal } = given;
let isLoading = true;
const put = (target, name, value) =>
  Object.defineProperty(target, name, { value, configurable: true, writable: true, enumerable: true });
const own = (name) => Object.hasOwn(env, name);
const real = Deno.env, realOfNode = process.env;
put(Deno, "env", {
  get: (name) => isLoading ? (own(name) ? env[name] : undefined) : real.get(name),
  has: (name) => isLoading ? own(name) : real.has(name),
  set: (name, value) => isLoading ? void (env[name] = String(value)) : real.set(name, value),
  delete: (name) => isLoading ? void delete env[name] : real.delete(name),
  toObject: () => isLoading ? { ...env } : real.toObject(),
});
put(process, "env", env);
if (!maySignal) {
  const refuse = () => {
    throw new Deno.errors.NotCapable("Requires run access to signal this process");
  };
  const kill = Deno.kill, killOfNode = process.kill;
  put(Deno, "kill", (pid, signal) => pid === Deno.pid ? refuse() : kill(pid, signal));
  put(process, "kill", (pid, signal) => Math.abs(pid) === Deno.pid || pid === 0 ? refuse() : killOfNode(pid, signal));
  put(process, "abort", refuse);
}
put(globalThis, "${HANDOVER}", {
  hostname,
  env: (name) => isLoading && own(name) ? env[name] : null,
  importModule: (path) => modules[path](),
  endLoading() {
    isLoading = false;
    put(process, "env", realOfNode);
  },
});
`;
