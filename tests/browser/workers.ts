/** Acting on workers: the pool, what it consumes, limits, events, and its end, which wants the name typed. */

import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { eventually } from "../support/ports.ts";
import { startShop, type Step } from "./cluster.ts";

interface WorkerAnswer {
  row: { concurrency: number | null };
  queues: { name: string }[];
  registered: { name: string; rateLimit: string | null }[];
}

/** Steps by what they show. */
export const workers: Readonly<Record<string, Step>> = {
  async "a pool grows, shrinks and restarts, queues are added and cancelled, limits are set"(
    { browser, console, place },
  ) {
    const name = "other@test";
    await using _worker = await startShop(place, ["-n", name, "-P", "threads", "-c", "2", "-Q", "spare"]);
    const page = await browser.page();
    await page.goto(`${console.url}/workers`);
    await page.getByRole("link", { name }).click();
    await page.getByRole("heading", { level: 1, name }).waitFor();
    const becomes = (what: string, is: (worker: WorkerAnswer) => boolean) =>
      eventually(
        async () => is(await console.api<WorkerAnswer>(`workers/${encodeURIComponent(name)}`)),
        what,
        {
          everyMs: 200,
        },
      );

    await act(page, "Grow", { "Number of slots": "2" });
    await becomes("grown", ({ row }) => row.concurrency === 4);
    await act(page, "Shrink", { "Number of slots": "1" });
    await becomes("shrunk", ({ row }) => row.concurrency === 3);
    await act(page, "Restart pool", {});

    await page.getByRole("link", { name: /^Queues \d/ }).click();
    await act(page, "Add consumer", { Queue: "extra" });
    await becomes("extra queue", ({ queues }) => queues.some((queue) => queue.name === "extra"));
    await page.getByRole("cell", { name: "extra", exact: true }).first().waitFor();
    await page.getByRole("button", { name: "Cancel consumer extra" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Stop consuming" }).click();
    await becomes("cancelled", ({ queues }) => queues.every((queue) => queue.name !== "extra"));

    await page.getByRole("link", { name: /^Limits \d/ }).click();
    await page.getByRole("button", { name: "Rate limit shop.echo" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Rate").fill("fast");
    await dialog.getByRole("button", { name: "Set" }).click();
    // What is refused is said where it was typed, and can be corrected there.
    await dialog.getByRole("alert").getByText("fast").waitFor();
    assert.equal(await dialog.getByLabel("Rate").inputValue(), "fast");
    await dialog.getByLabel("Rate").fill("10/m");
    await dialog.getByRole("button", { name: "Set" }).click();
    await becomes(
      "limited",
      ({ registered }) =>
        registered.some((task) => task.name === "shop.echo" && task.rateLimit?.startsWith("10") === true),
    );
    await page.getByRole("button", { name: "Time limit shop.echo" }).click();
    await page.getByRole("dialog").getByLabel("Hard, seconds").fill("30");
    await page.getByRole("dialog").getByRole("button", { name: "Set" }).click();
    await page.getByRole("status").getByText("limit").first().waitFor();

    for (const tab of ["Active", "Reserved", "Scheduled", "Revoked", "Configuration", "Statistics"]) {
      await page.getByRole("navigation", { name: "About this worker" }).getByRole("link", { name: tab })
        .click();
      await page.locator(".tabs [aria-current]", { hasText: tab }).waitFor();
    }
    await page.context().close();
  },

  async "Autoscale sets the bounds of a pool, and each action is a line of the audit log"(
    { browser, console, place },
  ) {
    const name = "scaling@test";
    await using _worker = await startShop(place, [
      "-n",
      name,
      "-P",
      "threads",
      "--autoscale=3,1",
      "-Q",
      "spare",
    ]);
    const page = await browser.page();
    await page.goto(`${console.url}/worker/${name}`);
    await act(page, "Autoscale", { "Minimum slots": "2", "Maximum slots": "5" });
    await page.getByRole("status").getByText("Autoscaling from 2 to 5").waitFor();
    await page.getByText("2 to 5", { exact: true }).waitFor();
    await console.program.says(
      new RegExp(`audit user=- from=127\\.0\\.0\\.1 action=pool_autoscale target=${name} outcome=ok`),
    );
    const { rows: [line] } = await console.api<{ rows: { action: string; target: string }[] }>("audit");
    assert.deepEqual([line!.action, line!.target], ["pool_autoscale", name]);
    await page.context().close();
  },

  async "secrets of a worker's configuration are masked"({ browser, console }) {
    const page = await browser.page();
    await page.goto(`${console.url}/worker/shop@test?tab=conf`);
    await page.getByText("broker_url").waitFor();
    await page.context().close();
  },

  async "events are switched off and on"({ browser, console }) {
    const page = await browser.page();
    await page.goto(`${console.url}/workers`);
    await page.getByRole("button", { name: "Disable events" }).click();
    await page.getByRole("status").getByText(/events/i).first().waitFor();
    await page.getByRole("button", { name: "Close" }).click();
    await page.getByRole("button", { name: "Enable events" }).click();
    await page.getByRole("status").getByText(/events/i).first().waitFor();
    await page.context().close();
  },

  async "Shut down wants the worker's name typed, and ends it"({ browser, console, place }) {
    const name = "ending@test";
    await using worker = await startShop(place, ["-n", name, "-P", "solo", "-Q", "spare"]);
    const page = await browser.page();
    await page.goto(`${console.url}/worker/${name}`);
    await page.getByRole("button", { name: "Shut down" }).click();
    const dialog = page.getByRole("dialog");
    assert.ok(await dialog.getByRole("button", { name: "Shut down" }).isDisabled());
    await dialog.getByLabel(`Type ${name} to confirm`).fill(name);
    await dialog.getByRole("button", { name: "Shut down" }).click();
    assert.equal((await worker.ended).code, 0);
    await page.locator("h1 + .state", { hasText: "Offline" }).waitFor();
    await page.context().close();
  },

  async "a Python worker's tasks are seen as ours are"({ browser, console, send, reaches }) {
    const id = await send("t.add", [2, 3], { queue: "python" });
    await reaches(id, "SUCCESS");
    const page = await browser.page();
    await page.goto(`${console.url}/task/${id}`);
    await page.getByRole("group", { name: "Result" }).getByText("5").waitFor();
    await page.getByRole("definition").getByRole("link", { name: "python@test" }).click();
    await page.getByRole("heading", { level: 1, name: "python@test" }).waitFor();
    await page.getByText("prefork").waitFor();
    await page.context().close();
  },
};

/** Does an action of a dialog: fills its fields, and confirms. */
async function act(page: Page, label: string, fields: Record<string, string>): Promise<void> {
  await page.getByRole("button", { name: label, exact: true }).click();
  const dialog = page.getByRole("dialog");
  for (const [name, value] of Object.entries(fields)) {
    await dialog.getByLabel(name, { exact: true }).fill(value);
  }
  await dialog.getByRole("button", { name: label, exact: true }).click();
  await dialog.waitFor({ state: "detached" });
}
