/** Tasks that the interop and command tests run, in TypeScript; tasks.py has the same in Python. */

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
/** Runs until a file exists: for as long as a test needs, on a machine of any speed. */
export const hold = app.task("t.hold", async (path: string) => {
  while (!await Deno.stat(path).then(() => true, () => false)) await wait(0.02);
  return "held";
});
/** Makes a file, then loops without an await until another file exists. */
export const loop = app.task("t.loop", (begun: string, end: string) => {
  Deno.writeTextFileSync(begun, "");
  for (;;) {
    try {
      return Deno.statSync(end).size;
    } catch {
      // It is not there yet.
    }
  }
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
/** Sends a task to each queue in turn; returns the errors' texts, empty for a task that was sent. */
export const sendTo = app.task("t.send_to", async (queues: string[]) => {
  const errors: string[] = [];
  for (const queue of queues) {
    const [exchange, routingKey] = queue.split("/");
    const target = routingKey === undefined ? { queue } : { exchange: exchange!, routingKey };
    await app.sendTask("t.add", { args: [1, 2], ...target })
      .then(() => errors.push(""), (error: Error) => errors.push(error.message));
  }
  return errors;
});
/** Appends its id to a file, one line for each run, before it ends. */
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
export const trace = app.task("t.trace", { bind: true }, (self) => self.trace);
export const relay = app.task("t.relay", { bind: true }, async (self, queue: string, url: string | null) => {
  const fetched = url === null ? null : await (await fetch(url)).text();
  const child = await app.sendTask("t.trace", { queue });
  return { trace: self.trace, fetched, child: child.id };
});
export const again = app.task("t.again", { bind: true, maxRetries: 1 }, (self) => {
  if (self.request.retries === 0) throw self.retry({ countdown: 0 });
  return { trace: self.trace, headers: self.request.headers };
});
