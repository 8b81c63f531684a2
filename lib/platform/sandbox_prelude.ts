/**
 * What runs in a sandboxed isolate before any module of ours or of the user's: text, since nothing else is there yet.
 *
 * It is a function of `given`: what Deno's own checks leave open is shut here, where the task's permissions do not
 * grant it, and the functions that do so are taken before user code could replace them. `import("npm:…")` asks the
 * registry and writes to the cache whatever the permissions say; so do the static imports of a module that is made at
 * run time, and an isolate that is started from here would know nothing of this one's hook. A process may signal itself
 * without the permission to run programs, and an isolate is a part of its process. `Deno.openKv()` and `caches` write
 * to the disk.
 */

/** What the prelude is made with. Plain data. */
export interface PreludeGift {
  /** The host's name, which the isolate may not ask for. */
  readonly hostname: string;
  /** It may connect somewhere: URLs of broker and store are of use to it. */
  readonly mayDial: boolean;
  readonly maySignal: boolean;
  /** Modules from npm, and such as are made at run time. */
  readonly mayImport: boolean;
  /** What lies in Deno's cache folder: `caches`, a Kv without a path. */
  readonly mayKeep: boolean;
  /** Specifiers that stand in the user's modules: a part of the program, which need no permission. */
  readonly specifiers: readonly string[];
}

/** The name under which the prelude hands on; whoever takes it deletes it. */
export const HANDOVER = "__lovageSandbox";

// Shuts what the permissions of Deno leave open. Of \`given\` it takes all but the host's name; \`text\` is itself, for
// the isolates that are started from here.
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
// Where an isolate that was started from here goes on: what was sent to it meanwhile is sent again.
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

// Who imports names gets what stands here now, not what the module was made with.
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
  // It may be encoded twice over: each form is looked at.
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
      // Base64 tells capitals apart, the schemes do not.
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
 * Names `given` (PreludeGift), `text` (SHIELD_TEXT) and `modules` (functions by path), which must stand before it.
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
// The frames of this isolate go another way; what is posted from here would be read by nobody and kept by its parent.
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

/** What the isolates that are started from a sandbox begin with. */
export const SHIELD_TEXT: string = SHIELD;
