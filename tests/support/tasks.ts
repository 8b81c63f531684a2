/** Tasks that the interop and command tests run, in this language; tasks.py is the same in Python. */

import { App, Ignore, Reject } from "lovage";

const env = (name: string) => Deno.env.get(name) || "";
const wait = (seconds: number) => new Promise<void>((done) => setTimeout(done, seconds * 1000));

export const app = new App("interop", {
  ...(env("TEST_BROKER") ? { broker_url: env("TEST_BROKER") } : {}),
  ...(env("TEST_BACKEND") ? { result_backend: env("TEST_BACKEND") } : {}),
});
app.conf.update(JSON.parse(env("TEST_CONF") || "{}"));

class ValueError extends Error {}
class KeyError extends Error {}
class ShopError extends Error {
  static module = "shop.errors";
}

export const add = app.task("t.add", (x: number, y: number) => x + y);
export const echo = app.task("t.echo", (value: unknown) => value);
export const who = app.task("t.who", (..._: unknown[]) => "lovage");
export const kw = app.task("t.kw", (a: unknown, b: unknown = 10, c: unknown = "c") => [a, b, c]);
export const size = app.task("t.size", (text: string) => text.length);
export const sleep = app.task("t.sleep", async (seconds: number) => {
  await wait(seconds);
  return seconds;
});
export const at = app.task("t.at", () => Date.now() / 1000);
export const quiet = app.task("t.quiet", { ignoreResult: true }, () => "unseen");
export const fail = app.task("t.fail", (kind: string, ...args: unknown[]) => {
  const text = String(args[0] ?? "");
  if (kind === "ValueError") throw new ValueError(text);
  if (kind === "KeyError") throw new KeyError(text);
  if (kind === "TypeError") throw new TypeError(text);
  if (kind === "ShopError") throw new ShopError(text);
  throw new Error(text);
});
export const retry = app.task("t.retry", { bind: true }, (self, times: number, countdown: number) => {
  if (self.request.retries < times) throw self.retry({ countdown, maxRetries: times });
  return self.request.retries;
});
export const exhaust = app.task("t.exhaust", { bind: true }, (self) => {
  throw self.retry({ exc: new ValueError("gave up"), countdown: 0, maxRetries: 1 });
});
export const progress = app.task("t.progress", { bind: true }, async (self, seconds: number) => {
  await self.updateState("PROGRESS", { done: 50, note: "půlka" });
  await wait(seconds);
  return "done";
});
export const ignored = app.task("t.ignored", () => {
  throw new Ignore();
});
export const rejected = app.task("t.rejected", { acksLate: true }, () => {
  throw new Reject("not wanted", { requeue: false });
});
export const tree = app.task("t.tree", { bind: true }, async (self) => {
  const child = await add.delay(1, 1);
  return { id: self.request.id, root: self.request.rootId, child: child.id };
});
/** Appends its id, one line a run, on disk before it ends. */
export const record = app.task(
  "t.record",
  { bind: true, params: ["path", "seconds"] },
  async (self, path: string, seconds: number = 0) => {
    if (seconds) await wait(seconds);
    const file = Deno.openSync(path, { append: true, create: true });
    file.writeSync(new TextEncoder().encode(`${self.request.id}\n`));
    file.close();
    return null;
  },
);
