/**
 * `make pictures`: makes the pictures of docs/console.md again, from a sample shop on a private Redis that is
 * busy for some minutes (SECONDS=240), in both themes. With Debian's fonts-inter they look as in the docs.
 */

import { filePath } from "../lib/base/mod.ts";
import { app, big, broken, daily, echo, long, place, receipt } from "../tests/support/shop.ts";
import { TestBrowser } from "../tests/support/browser.ts";
import { SHOP, startConsole } from "../tests/support/console.ts";
import { environment, LOVAGE, Program, startWorker } from "../tests/support/programs.ts";
import { startRedis } from "../tests/support/servers.ts";

const SECONDS = Number(Deno.env.get("SECONDS") ?? 240);
const folder = filePath(new URL("../docs/console/", import.meta.url));

await Deno.mkdir(folder, { recursive: true });
// The path that tracebacks show.
const home = "/tmp/shop";
await Deno.mkdir(home, { recursive: true });
await Deno.copyFile(SHOP, `${home}/tasks.ts`);
await using redis = await startRedis();
const env = { TEST_BROKER: redis.url() };
const shop = { broker: redis.url(), backend: redis.url(), env };
app.conf.update({ broker_url: redis.url(), result_backend: redis.url() });
await using console_ = await startConsole(shop);
await using _north = await startShopWorker("north", ["-Q", "celery,mail"]);
await using _south = await startShopWorker("south", ["-Q", "celery,reports"]);
await using _beat = new Program(
  [...LOVAGE, "-A", SHOP, "beat", "-l", "WARNING", "-s", `${redis.socketPath}.beat`],
  environment(shop),
);
let isOpen = true;
const trade = busy();
await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
await using browser = await TestBrowser.start();
// Queues and workers are asked at the first request.
await Promise.all(["overview", "queues", "workers"].map((path) => console_.api(path)));
await new Promise((resolve) => setTimeout(resolve, 5000));
for (const theme of ["light", "dark"] as const) await shoot(theme);
isOpen = false;
await trade;
await app.close();
await Deno.remove(home, { recursive: true });

function startShopWorker(name: string, args: readonly string[]): Promise<Program> {
  return startWorker(shop, ["-n", `${name}@shop`, "-P", "async", "-c", "8", "-E", ...args], {
    app: `${home}/tasks.ts`,
  });
}

/** Orders in waves, payments that fail, reports, scheduled tasks, and tasks that no worker knows. */
async function busy(): Promise<void> {
  await long.applyAsync([900]);
  for (let hour = 1; hour <= 6; hour++) {
    await daily.applyAsync([`hour ${hour}`], {}, { countdown: 3600 * hour });
  }
  await receipt.applyAsync(["later@example.org"], {}, { countdown: 1800 });
  const lines = [{ sku: "BOOT-42", price: 129.5, count: 1 }, { sku: "LACE-90", price: 4.2, count: 2 }];
  await echo.delay({ order: 12345678901234567890n, lines, note: null, paid: false });
  await app.sendTask("shop.returns.accept", { args: [42] });
  // A queue without consumers.
  for (const invoice of [1, 2, 3]) {
    await app.sendTask("shop.invoices.print", { args: [invoice], queue: "invoices" });
  }
  for (let order = 1; isOpen;) {
    const customers = 1 + Math.round(2 + 2 * Math.sin(order / 40));
    for (let each = 0; each < customers; each++) await place.delay(order++);
    if (order % 60 < customers) await big.delay();
    // More than the worker can run at once.
    if (order % 80 < customers) {
      for (let part = 0; part < 12; part++) await daily.delay(`part ${part}`, 8);
    }
    if (order % 90 < customers) await broken.delay("the scanner sent nothing");
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

async function shoot(theme: "light" | "dark"): Promise<void> {
  const page = await browser.page({ colorScheme: theme, viewport: { width: 1280, height: 860 } });
  const idOf = async (search: string) => {
    const { rows } = await console_.api<{ rows: { id: string }[] }>(
      `tasks?limit=1&search=${encodeURIComponent(search)}`,
    );
    return rows[0]?.id ?? "";
  };
  const failed = await idOf("state:FAILURE name:charge");
  const pages: Readonly<Record<string, string>> = {
    overview: "/?window=900",
    tasks: "/tasks",
    search: "/tasks?search=state%3AFAILURE+name%3Acharge",
    task: `/task/${failed}`,
    chord: `/task/${await idOf("name:shop.orders.sum")}`,
    workers: "/workers",
    worker: "/worker/north@shop",
    limits: "/worker/north@shop?tab=limits",
    queues: "/queues",
    scheduled: "/scheduled",
    periodic: "/periodic",
    dead: "/dead",
    failed: "/dead?kind=failed",
    run: "/run?name=shop.echo",
    login: "/login",
  };
  for (const [name, path] of Object.entries(pages)) {
    await page.goto(console_.url + path);
    await page.waitForFunction(
      "document.querySelector('h1') && !document.body.textContent.includes('Loading …')",
    );
    await page.screenshot({ path: `${folder}${name}-${theme}.png`, timeout: 120_000 });
  }
  await page.goto(`${console_.url}/queues`);
  await page.getByRole("button", { name: "Purge reports" }).click();
  await page.screenshot({ path: `${folder}purge-${theme}.png`, timeout: 120_000 });
  const phone = await browser.page({ colorScheme: theme, viewport: { width: 320, height: 640 } });
  await phone.goto(`${console_.url}/?window=900`);
  await phone.screenshot({ path: `${folder}phone-${theme}.png`, timeout: 120_000 });
  await phone.context().close();
  await page.context().close();
}
