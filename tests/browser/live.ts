/** Pages follow the cluster: by the stream, by asking if no stream comes through, and not at all while paused. */

import assert from "node:assert/strict";
import type { Step } from "./cluster.ts";

/** Steps by what they show. */
export const live: Readonly<Record<string, Step>> = {
  async "a list of tasks follows, and pauses by a switch"({ browser, console, send, reaches }) {
    const page = await browser.page();
    await page.goto(`${console.url}/tasks?search=name:shop.stock`);
    await page.getByRole("heading", { name: "No task matches" }).waitFor();
    await reaches(await send("shop.stock.sync", ["first"]), "SUCCESS");
    await page.getByText("1 found", { exact: true }).waitFor();
    await page.getByRole("switch", { name: "Live" }).click();
    const streams = page.waitForRequest(/stream/);
    const id = await send("shop.stock.sync", ["second"]);
    await reaches(id, "SUCCESS");
    assert.equal(await page.getByText("1 found", { exact: true }).count(), 1);
    await page.getByRole("switch", { name: "Live" }).click();
    await streams;
    await send("shop.stock.sync", ["third"]);
    await page.getByText("3 found", { exact: true }).waitFor();
    await page.context().close();
  },

  async "a task's page follows it to its end"({ browser, console, send, reaches }) {
    const id = await send("shop.images.resize", [3]);
    await reaches(id, "STARTED");
    const page = await browser.page();
    await page.goto(`${console.url}/task/${id}`);
    await page.locator("h1 + .state", { hasText: "SUCCESS" }).waitFor();
    await page.locator("ol.line").getByText("succeeded", { exact: true }).waitFor();
    await page.context().close();
  },

  async "a stream goes on where it stopped, and tells one who comes too late to fetch anew"(
    { console, send, reaches },
  ) {
    const topics = "topics=tasks%3Fsearch%3Dargs%3Aresumed";
    await using first = await openStream(console.url, topics);
    await reaches(await send("shop.echo", ["resumed"]), "SUCCESS");
    const { id, data } = await first.until("tasks");
    assert.equal(JSON.parse(data).data.rows[0].name, "shop.echo");
    await first[Symbol.asyncDispose]();
    await using watcher = await openStream(console.url, topics);
    await reaches(await send("shop.echo", ["resumed again"]), "SUCCESS");
    const missed = await watcher.until("tasks");
    await using second = await openStream(console.url, topics, id);
    assert.deepEqual(await second.until("tasks"), missed);
    await using late = await openStream(console.url, topics, "another-7");
    assert.equal((await late.until("resync")).data.includes("resumed"), true);
  },

  async "what comes does not move what is there"({ browser, console, send, reaches }) {
    const page = await browser.page({ bypassCSP: true });
    await page.addInitScript(`
      window.shifts = [];
      new PerformanceObserver((list) => {
        for (const one of list.getEntries()) {
          if (!one.hadRecentInput) window.shifts.push(one.value);
        }
      }).observe({ type: "layout-shift", buffered: true });
      window.heard = 0;
      const Stream = EventSource;
      window.EventSource = class extends Stream {
        addEventListener(kind, hear) {
          super.addEventListener(kind, (event) => {
            hear(event);
            if (kind !== "ping") window.heard++;
          });
        }
      };
    `);
    // A list of tasks grows from its head, and so does move.
    for (const path of ["/", "/workers", "/queues"]) {
      await page.goto(console.url + path);
      await page.locator("h1").waitFor();
      const ids = await Promise.all(
        Array.from({ length: 20 }, (_, at) => send("shop.echo", [`moving ${at}`])),
      );
      await Promise.all(ids.map((id) => reaches(id, "SUCCESS")));
      await page.waitForFunction("window.heard >= 2");
      const shifts = await page.evaluate("window.shifts") as number[];
      const sum = shifts.reduce((all, one) => all + one, 0);
      assert.ok(sum < 0.05, `${path} moved by ${sum}`);
    }
    await page.context().close();
  },

  async "without a stream the page asks again by itself"({ browser, console, send }) {
    const page = await browser.page();
    await page.route(/\/api\/v1\/stream/, (route) => route.abort());
    await page.goto(`${console.url}/tasks?search=name:shop.carts`);
    await page.getByRole("heading", { name: "No task matches" }).waitFor();
    await send("shop.carts.clean");
    await page.getByText("1 found", { exact: true }).waitFor();
    await page.context().close();
  },

  async "a console that went away is told, and what is shown stays"({ browser, console }) {
    const page = await browser.page();
    await page.goto(`${console.url}/workers`);
    await page.getByRole("cell", { name: "shop@test" }).waitFor();
    await page.route(/\/api\/v1\//, (route) => route.abort());
    await page.getByRole("switch", { name: "Live" }).click();
    await page.getByRole("switch", { name: "Live" }).click();
    await page.getByRole("alert").getByText("The console does not answer").waitFor();
    assert.equal(await page.getByRole("cell", { name: "shop@test" }).count(), 1);
    await page.context().close();
  },
};

/** One event of a stream. */
interface Sent {
  readonly id: string;
  readonly kind: string;
  readonly data: string;
}

/** A stream of the console's, from an event on. */
async function openStream(url: string, query: string, since?: string) {
  const ending = new AbortController();
  const headers: Record<string, string> = since === undefined ? {} : { "last-event-id": since };
  const { body } = await fetch(`${url}/api/v1/stream?${query}`, { headers, signal: ending.signal });
  const reader = body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  return {
    /** The next event of a kind. */
    async until(kind: string): Promise<Sent> {
      for (;;) {
        const end = text.indexOf("\n\n");
        if (end < 0) {
          const { value, done } = await reader.read();
          assert.ok(!done, `the stream ended before "${kind}"`);
          text += value;
          continue;
        }
        const lines = new Map(
          text.slice(0, end).split("\n").map((line) => {
            const colon = line.indexOf(": ");
            return [line.slice(0, colon), line.slice(colon + 2)] as const;
          }),
        );
        text = text.slice(end + 2);
        if (lines.get("event") === kind) return { id: lines.get("id")!, kind, data: lines.get("data")! };
      }
    },
    async [Symbol.asyncDispose](): Promise<void> {
      ending.abort();
      await reader.cancel().catch(() => {}); // it is aborted
    },
  };
}
