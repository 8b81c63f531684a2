/**
 * The code that runs in a sandboxed isolate before any module of ours or of the user's. It is text, because
 * no module is loaded yet.
 *
 * It closes what Deno's own checks leave open, unless the task's permissions (`given`) grant it. The built-in
 * functions that it needs are saved before user code can replace them. The gaps are: `import("npm:…")`
 * queries the registry and writes to the cache whatever the permissions are, and so do static imports of
 * modules made at run time; an isolate started from the sandbox would not have the sandbox's import hook; a
 * process may signal itself without the permission to run programs, and an isolate is part of its process;
 * `Deno.openKv()` and `caches` write to the disk.
 */

/** The input of the prelude, as plain data. */
export interface PreludeGift {
  /** The host's name, which the isolate may not read itself. */
  readonly hostname: string;
  /** True if it may connect somewhere, so that it needs the URLs of broker and result store. */
  readonly mayDial: boolean;
  readonly maySignal: boolean;
  /** True if it may import from npm and import modules made at run time. */
  readonly mayImport: boolean;
  /** True if it may use storage in Deno's cache folder: `caches`, and a Kv without a path. */
  readonly mayKeep: boolean;
  /** The specifiers in the text of the user's modules, which belong to the program and need no permission. */
  readonly specifiers: readonly string[];
}

/** The global name under which the prelude hands over; `takeHandover` deletes it. */
export const HANDOVER = "__lovageSandbox";

// Closes what Deno's permissions leave open. `given` needs no host name here; `text` is this text itself, for
// isolates that are started from the sandbox.
const SHIELD = `
const { maySignal, mayImport, mayKeep } = given;
const put = (target, name, value) =>
  Object.defineProperty(target, name, { value, configurable: true, writable: true, enumerable: true });
const { NotCapable } = Deno.errors;
const refusal = (words) => function () {
  throw new NotCapable(words);
};
const uncurried = Function.prototype.bind.bind(Function.prototype.call);
const startsWith = uncurried(String.prototype.startsWith), lower = uncurried(String.prototype.toLowerCase);
const trim = uncurried(String.prototype.trim), includes = uncurried(Array.prototype.includes);
const test = uncurried(RegExp.prototype.test), decode = decodeURIComponent, ofBase64 = atob;
const hasKey = uncurried(Object.prototype.hasOwnProperty);
const builtin = process.getBuiltinModule;
const nodeModule = builtin("node:module"), threads = builtin("node:worker_threads");
const { registerHooks } = nodeModule;

if (!maySignal) {
  const refuse = refusal("Requires run access to signal this process");
  const kill = Deno.kill, killOfNode = process.kill;
  put(Deno, "kill", (pid, signal) => pid === Deno.pid ? refuse() : kill(pid, signal));
  put(process, "kill", (pid, signal) => Math.abs(pid) === Deno.pid || pid === 0 ? refuse() : killOfNode(pid, signal));
  put(process, "abort", refuse);
  put(process, "_kill", refuse);
}
if (!mayKeep) {
  const { openKv } = Deno;
  const refuse = refusal("Requires write access to Deno's own folder");
  if (openKv) put(Deno, "openKv", async (path) => path === undefined || path === "" ? refuse() : await openKv(path));
  const storage = globalThis.caches && Object.getPrototypeOf(globalThis.caches);
  if (storage) for (const name of ["open", "has", "delete"]) put(storage, name, async () => refuse());
}
const namesPackages = (code) => /npm:|\\\\[ux]/i.test(code);
if (!mayImport) {
  const again = refusal("Requires import access to change how modules are found");
  for (const name of ["registerHooks", "register"]) put(nodeModule, name, again);
  put(threads, "Worker", refusal("Requires import access to start an isolate"));
  const Real = globalThis.Worker, { Blob } = globalThis;
  const toUrl = URL.createObjectURL, toJson = JSON.stringify;
  const Started = function (specifier, options) {
    const { href } = new URL(specifier);
    const inner = { maySignal, mayImport, mayKeep, specifiers: [...given.specifiers, href] };
    const code = "const given = " + toJson(inner) + ", text = " + toJson(text) + ";" + text +
      "await begin(" + toJson(href) + ");";
    const url = toUrl(new Blob([code], { type: "text/javascript" }));
    return Reflect.construct(Real, [url, options], new.target || Real);
  };
  Started.prototype = Real.prototype;
  put(Real.prototype, "constructor", Started);
  put(globalThis, "Worker", Started);
}
// Imports the module of an isolate that was started from here, and then sends the messages that came
// meanwhile again.
const begin = async (url) => {
  const early = [];
  const keep = (event) => {
    event.stopImmediatePropagation();
    early.push(event);
  };
  globalThis.addEventListener("message", keep);
  if (/^(data|blob):/i.test(url) && namesPackages(await (await fetch(url)).text())) {
    throw new NotCapable("Requires import access to packages");
  }
  await import(url);
  globalThis.removeEventListener("message", keep);
  for (const { data, ports } of early) globalThis.dispatchEvent(new MessageEvent("message", { data, ports }));
};

// Named imports of these modules get the replaced functions, not the original exports.
const facade = (name) => {
  const names = Object.keys(builtin(name)).filter((one) => /^[A-Za-z_$][\\w$]*$/.test(one) && one !== "default");
  const code = "const it = process.getBuiltinModule(" + JSON.stringify(name) + ");\\nexport default it;\\n" +
    names.map((one) => "export const " + one + " = it." + one + ";\\n").join("");
  return "data:text/javascript," + encodeURIComponent(code);
};
const facades = { __proto__: null };
for (const name of ["node:process", "node:worker_threads", "node:module"]) facades[name] = facade(name);
const known = { __proto__: null };
for (const one of given.specifiers) known[one] = true;
let isLoading = false;
const refuseMade = (wanted) => {
  if (startsWith(wanted, "npm:")) throw new NotCapable("Requires import access to packages: " + wanted);
  if (startsWith(wanted, "blob:")) throw new NotCapable("Requires import access to a module made at run time");
  if (!startsWith(wanted, "data:")) return;
  // The text may be encoded twice: check each form.
  let plain = wanted;
  try {
    plain = decode(wanted);
  } catch {}
  const base64 = /^data:[^,]*;base64,(.*)$/s.exec(plain);
  if (base64) plain = ofBase64(base64[1]);
  if (namesPackages(plain)) throw new NotCapable("Requires import access to packages");
};
if (!mayImport || !maySignal) registerHooks({
  resolve(specifier, context, next) {
    if (!mayImport && !isLoading && known[specifier] !== true) {
      // Base64 is case-sensitive, schemes are not.
      const wanted = trim(specifier);
      refuseMade(test(/^(npm|blob|data):/i, wanted) ? lower(wanted.slice(0, 5)) + wanted.slice(5) : wanted);
    }
    const found = next(specifier, context);
    const url = facades[found.url];
    if (url === undefined || includes(context.conditions || [], "require")) return found;
    return { url, shortCircuit: true };
  },
});
`;

/**
 * The prelude. The variables `given` (PreludeGift), `text` (SHIELD_TEXT) and `modules` (functions by path)
 * must be defined before it.
 */
export const PRELUDE = `${SHIELD}
let env = {};
isLoading = true;
const real = Deno.env, realOfNode = process.env;
put(Deno, "env", {
  get: (name) => isLoading ? (hasKey(env, name) ? env[name] : undefined) : real.get(name),
  has: (name) => isLoading ? hasKey(env, name) : real.has(name),
  set: (name, value) => isLoading ? void (env[name] = String(value)) : real.set(name, value),
  delete: (name) => isLoading ? void delete env[name] : real.delete(name),
  toObject: () => isLoading ? { ...env } : real.toObject(),
});
const now = () => isLoading ? env : realOfNode;
put(process, "env", new Proxy({}, {
  get: (_, name) => now()[name],
  set: (_, name, value) => Reflect.set(now(), name, String(value)),
  has: (_, name) => name in now(),
  deleteProperty: (_, name) => delete now()[name],
  defineProperty: (_, name, { value }) => Reflect.set(now(), name, String(value)),
  ownKeys: () => Reflect.ownKeys(now()),
  getOwnPropertyDescriptor(_, name) {
    const found = Reflect.getOwnPropertyDescriptor(now(), name);
    return found && { ...found, configurable: true };
  },
}));
// This isolate sends its frames over another port; a message posted here would never be read, and its parent
// would keep it.
delete globalThis.postMessage;
put(globalThis, "${HANDOVER}", {
  hostname: given.hostname,
  mayDial: given.mayDial,
  env: (name) => isLoading && hasKey(env, name) ? env[name] : null,
  beginLoading: (given) => void (env = given),
  importModule: (path) => modules[path](),
  endLoading() {
    isLoading = false;
    env = {};
  },
});
`;

/** The first code of isolates that are started from a sandbox. */
export const SHIELD_TEXT: string = SHIELD;
