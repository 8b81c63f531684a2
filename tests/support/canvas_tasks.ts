/** Tasks of the canvas tests in TypeScript; canvas_tasks.py has the same in Python and describes them. */

import { App, chain, chord, group, type Signature, type TaskRequest } from "lovage";

const env = (name: string) => Deno.env.get(name) || "";

/** The app of a worker. A test that is the client makes its own with `canvasApp`. */
export const app = canvasApp({
  ...(env("TEST_BROKER") ? { broker_url: env("TEST_BROKER") } : {}),
  ...(env("TEST_BACKEND") ? { result_backend: env("TEST_BACKEND") } : {}),
  ...JSON.parse(env("TEST_CONF") || "{}"),
});

class ValueError extends Error {
  args: unknown[];
  constructor(...args: unknown[]) {
    super(String(args[0]));
    this.args = args;
  }
}
class KeyError extends Error {}

function log(...line: unknown[]): void {
  const file = Deno.openSync(env("TEST_LOG"), { append: true, create: true });
  file.writeSync(new TextEncoder().encode(JSON.stringify(line) + "\n"));
  file.close();
}

function show(value: unknown): string {
  return Array.isArray(value) ? `[${value.map(show).join(",")}]` : value === null ? "None" : String(value);
}

function text(args: unknown[]): string {
  return `${String(args.at(-1)).split("/")[1]}(${args.slice(0, -1).map(show).join(",")})`;
}

/** Returns an app with these tasks. */
export function canvasApp(settings: Record<string, unknown>): App {
  const app = new App("canvas", settings);
  const step = app.task("c.step", (...args: unknown[]) => {
    log("step", args.at(-1));
    return text(args);
  });
  const boom = app.task("c.boom", (...args: unknown[]): string => {
    log("boom", args.at(-1));
    throw new ValueError("boom", String(args.at(-1)).split("/")[1]);
  });
  app.task("c.odd", (...args: unknown[]) => {
    log("odd", args.at(-1));
    return () => 1;
  });
  app.task("c.flaky", { bind: true }, (self, ...args: unknown[]) => {
    log("flaky", args.at(-1));
    if (self.request.retries < 2) throw self.retry({ countdown: 0, maxRetries: 2 });
    return text(args);
  });
  app.task("c.giveup", { bind: true }, (self, ...args: unknown[]) => {
    log("giveup", args.at(-1));
    throw self.retry({ exc: new KeyError("gave up"), countdown: 0, maxRetries: 1 });
  });
  app.task("c.quiet", { ignoreResult: true }, (...args: unknown[]) => {
    log("quiet", args.at(-1));
    return text(args);
  });
  app.task("c.stamps", { bind: true }, (self, ..._: unknown[]) => self.request.stamps);
  app.task("c.swapStamped", { bind: true }, (self, ..._: unknown[]): unknown => {
    const queue = self.request.deliveryInfo.routingKey;
    return self.replace(app.signature("c.stamps", { queue }).stamp({ fresh: 1 }));
  });
  const kinds = ["task", "chain", "group", "chord", "boom", "swap", "chainboom", "chaingroup", "chordgroup"];
  app.task("c.swap", { bind: true }, (self, ...given: unknown[]): unknown => {
    log("swap", given.at(-1));
    let [kind, ...args] = given;
    if (!kinds.includes(String(kind))) [kind, args] = [given[1], [given[0], ...given.slice(2)]];
    const label = args.at(-1);
    const before = args.slice(0, -1);
    const queue = self.request.deliveryInfo.routingKey;
    const sign = (name: string, ...all: unknown[]): Signature => app.signature(name, { args: all, queue });
    const one = (n: number, task = "c.step") => sign(task, ...before, `${label}${n}`);
    const end = (n: number) => sign("c.step", `${label}${n}`);
    const made: Record<string, () => Signature> = {
      task: () => one(1),
      boom: () => one(1, "c.boom"),
      swap: () => sign("c.swap", "task", ...before, `${label}1`),
      chain: () => chain(one(1), end(2)),
      chainboom: () => chain(one(1, "c.boom"), end(2)),
      group: () => group(one(1), one(2)),
      chord: () => chord([one(1), one(2)], end(3)),
      chaingroup: () => chain(one(1), group(end(2), end(3))),
      chordgroup: () => chord([one(1), one(2)], group(end(3), end(4))),
    };
    return self.replace(made[String(kind)]!());
  });
  app.task("c.grow", { bind: true }, async (self, ...args: unknown[]) => {
    log("grow", args.at(-1));
    const queue = self.request.deliveryInfo.routingKey;
    await self.addToChord(app.signature("c.step", { args: [`${args.at(-1)}1`], queue }));
    return text(args);
  });
  app.task("c.mark", (...args: unknown[]) => {
    log("mark", args.at(-1), args.slice(0, -1));
    return "marked";
  });
  app.task("c.err", (uuid: unknown, { label }: { label: string }) => {
    log("err", label, typeof uuid === "string" ? "id" : String(uuid));
    return "erred";
  });
  app.task(
    "c.err3",
    (_request: TaskRequest, error: Error, _traceback: string, { label }: { label: string }) => {
      log("err3", label, [error.name === "Error" ? error.constructor.name : error.name]);
    },
  );
  void [step, boom];
  return app;
}
