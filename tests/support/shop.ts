/** A shop for the console's tests and pictures: tasks that succeed, fail, retry, wait and call each other. */

import { App, chain, chord, crontab, group } from "lovage";

const env = (name: string) => Deno.env.get(name) || "";
const wait = (seconds: number, signal?: AbortSignal) =>
  new Promise<void>((done, fail) => {
    const timer = setTimeout(done, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      fail(signal.reason);
    });
  });

export const app = new App("shop", {
  broker_url: env("TEST_BROKER"),
  result_backend: env("TEST_BACKEND") || env("TEST_BROKER"),
  task_routes: { "shop.mail.*": { queue: "mail" }, "shop.reports.*": { queue: "reports" } },
  task_send_sent_event: true,
});
app.conf.beat_schedule = {
  "nightly report": {
    task: "shop.reports.daily",
    schedule: crontab({ hour: 4, minute: 0 }),
    args: ["nightly"],
  },
  "sync stock": { task: "shop.stock.sync", schedule: 15, args: ["north"] },
  "clean carts": { task: "shop.carts.clean", schedule: crontab({ minute: "*/10" }) },
};

class ConnectionError extends Error {}
class ValueError extends Error {}

export const charge = app.task(
  "shop.orders.charge",
  { bind: true, maxRetries: 2 },
  async (self, order: { id: number; total: number }) => {
    await wait(0.03 + (order.id % 7) * 0.02);
    if (order.id % 9 === 4) throw new ConnectionError("payments.example refused the connection");
    if (order.id % 11 === 3 && self.request.retries < 1) throw self.retry({ countdown: 2 });
    return { order: order.id, paid: order.total, receipt: `R-${order.id}` };
  },
);
export const ship = app.task("shop.orders.ship", async (paid: { order: number }) => {
  await wait(0.05 + (paid.order % 5) * 0.05);
  return { order: paid.order, parcel: `P${paid.order * 31}` };
});
export const receipt = app.task("shop.mail.receipt", async (to: string) => {
  await wait(0.02);
  if (to.endsWith(".invalid")) throw new ValueError(`no such mailbox: ${to}`);
  return `sent to ${to}`;
});
export const sum = app.task("shop.orders.sum", (parts: { parcel: string }[]) => parts.length);
export const place = app.task("shop.orders.place", { bind: true }, async (_self, id: number) => {
  const order = { id, total: id * 1.25 };
  const message = await chain([charge.s(order), ship.s()]).applyAsync();
  await receipt.delay(id % 13 === 5 ? "nobody@shop.invalid" : `customer${id}@example.org`);
  return message.id;
});
export const daily = app.task("shop.reports.daily", async (name: string, seconds: number = 1.5) => {
  await wait(seconds);
  return { name, rows: 1234 };
});
export const big = app.task("shop.reports.year", async () => {
  const days = group([1, 2, 3, 4].map((day) => ship.s({ order: day })));
  const made = await chord(days, sum.s()).applyAsync();
  return made.id;
});
export const sync = app.task("shop.stock.sync", async (store: string) => {
  await wait(0.2);
  return { store, changed: 17 };
});
export const clean = app.task("shop.carts.clean", () => 3);
export const echo = app.task("shop.echo", (value: unknown) => value);
export const long = app.task("shop.images.resize", { bind: true }, async (self, seconds: number) => {
  await wait(seconds, self.signal);
  return seconds;
});
/** Fails with the given text. */
export const broken = app.task("shop.broken", (text: string) => {
  throw new ValueError(text);
});
