/** Acting on tasks and messages: every button does what it says, and nothing is done without being asked for. */

import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { eventually } from "../support/ports.ts";
import type { Step } from "./cluster.ts";

interface TaskAnswer {
  row: { id: string; state: string; name: string };
  exact: { args: string; kwargs: string; headers: string } | null;
}

/** Steps by what they show. */
export const actions: Readonly<Record<string, Step>> = {
  async "Retry sends a failed task again with its exact arguments"({ browser, console, send, reaches }) {
    const id = await send("shop.broken", ["12345678901234567890123 and 1.50"], {
      headers: { tenant: "north" },
    });
    await reaches(id, "FAILURE");
    const first = await console.api<TaskAnswer>(`tasks/${id}`);
    const page = await browser.page();
    await page.goto(`${console.url}/task/${id}`);
    await page.getByRole("button", { name: "Retry" }).click();
    const again = await sent(page, "Retry");
    await reaches(again, "FAILURE");
    assert.notEqual(again, id);
    const second = await console.api<TaskAnswer>(`tasks/${again}`);
    assert.equal(second.exact?.args, first.exact?.args);
    assert.equal(second.exact?.kwargs, first.exact?.kwargs);
    assert.match(second.exact!.headers, /"tenant": ?"north"/);
    await page.context().close();
  },

  async "Replay and Edit and resend start a task that succeeded anew, big numbers with every digit"(
    { browser, console, reaches },
  ) {
    const page = await browser.page();
    await page.goto(`${console.url}/run?name=shop.echo`);
    await page.getByLabel("Arguments, a JSON list").fill("[12345678901234567890123");
    await page.getByRole("button", { name: "Run task" }).click();
    assert.equal(await page.locator("textarea:invalid").count(), 1);
    await page.getByLabel("Arguments, a JSON list").fill("[[12345678901234567890123, 0.1]]");
    await page.getByRole("button", { name: "Run task" }).click();
    const id = await opened(page);
    await reaches(id, "SUCCESS");
    await page.getByRole("group", { name: "Result" }).getByText("12345678901234567890123").waitFor();
    await page.getByRole("button", { name: "Edit and resend" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Arguments, a JSON list").fill('["changed"]');
    await dialog.getByRole("button", { name: "Send" }).click();
    const edited = await opened(page);
    await reaches(edited, "SUCCESS");
    await page.getByRole("group", { name: "Result" }).getByText("changed").waitFor();
    await page.context().close();
  },

  async "a button that cannot work says why"({ browser, console, send, reaches }) {
    const id = await send("shop.echo", ["not kept"], { ignoreResult: true });
    await reaches(id, "SUCCESS");
    const task = await console.api<{ canRetry: boolean; whyNot: string | null }>(`tasks/${id}`);
    const page = await browser.page();
    await page.goto(`${console.url}/task/${id}`);
    const button = page.getByRole("button", { name: "Replay" });
    await button.waitFor();
    assert.equal(await button.isDisabled(), !task.canRetry);
    if (!task.canRetry) assert.equal(await page.locator("#why-not").textContent(), task.whyNot);
    await page.context().close();
  },

  async "Revoke discards a scheduled task, Terminate ends one that runs"(
    { browser, console, send, reaches },
  ) {
    const later = await send("shop.mail.receipt", ["later@example.org"], { countdown: 3600 });
    const running = await send("shop.images.resize", [120]);
    await reaches(running, "STARTED");
    const page = await browser.page();
    await page.goto(`${console.url}/scheduled`);
    await page.locator(`tr[data-row="${later}"]`).getByRole("button", { name: "Revoke" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
    await page.getByRole("status").getByText(/revok/i).waitFor();
    await page.goto(`${console.url}/task/${running}`);
    await page.getByRole("button", { name: "Terminate" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Terminate" }).click();
    await reaches(running, "REVOKED");
    await page.locator("h1 + .state", { hasText: "REVOKED" }).waitFor();
    await page.context().close();
  },

  async "Abort asks a task to end by itself"({ browser, console, send, reaches }) {
    const id = await send("t.abortable", [], { queue: "python" });
    await reaches(id, "STARTED");
    const page = await browser.page();
    await page.goto(`${console.url}/task/${id}`);
    await page.getByRole("button", { name: "Abort" }).click();
    await page.getByRole("dialog").getByText("AbortableTask").waitFor();
    await page.getByRole("dialog").getByRole("button", { name: "Abort" }).click();
    await page.getByRole("status").getByText(`Task ${id} was told to abort`).waitFor();
    await reaches(id, "SUCCESS");
    await page.getByRole("group", { name: "Result" }).getByText("aborted").waitFor();
    await page.getByRole("button", { name: "Abort" }).waitFor({ state: "detached" });
    // Whoever comes too late takes no result away.
    const late = await fetch(`${console.url}/api/v1/tasks/${id}/abort`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    });
    assert.deepEqual([late.status, (await late.json()).error], [
      400,
      `Cannot abort task ${id}: it has ended as SUCCESS`,
    ]);
    await page.context().close();
  },

  async "many tasks are retried at once, their count shown first"({ browser, console, send, reaches }) {
    const ids = await Promise.all([1, 2, 3].map((at) => send("shop.broken", [`in bulk ${at}`])));
    await Promise.all(ids.map((id) => reaches(id, "FAILURE")));
    const page = await browser.page();
    await page.goto(`${console.url}/tasks?search=${encodeURIComponent('state:FAILURE args:"in bulk"')}`);
    await page.getByText("3 found", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Retry all found tasks" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("heading", { name: "Retry 3 tasks?" }).waitFor();
    await dialog.getByRole("button", { name: "Retry 3 tasks" }).click();
    await page.getByText("6 found", { exact: true }).waitFor();
    await page.locator("tbody").getByRole("checkbox").first().check();
    await page.getByRole("button", { name: "Retry the selected tasks" }).click();
    await dialog.getByRole("heading", { name: "Retry 1 task?" }).waitFor();
    await dialog.getByRole("button", { name: "Cancel" }).click();
    await dialog.waitFor({ state: "detached" });
    await page.context().close();
  },

  async "failed tasks are retried and dropped where their messages are kept"(
    { browser, console, send, reaches },
  ) {
    const id = await send("shop.broken", ["kept"]);
    await reaches(id, "FAILURE");
    const page = await browser.page();
    await page.goto(`${console.url}/dead?kind=failed`);
    const row = page.locator("tr", { has: page.locator(`a[href$="/task/${id}"]`) });
    await row.getByRole("button", { name: "Drop" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Drop" }).click();
    await row.waitFor({ state: "detached" });
    const { rows: [first] } = await console.api<{ rows: { id: string }[] }>("letters/failed?limit=1");
    await page.locator(`tr[data-row="${first!.id}"]`).getByRole("button", { name: "Retry" }).click();
    await page.getByRole("status").getByText("Retry").waitFor();
    await page.context().close();
  },

  async "Purge wants the queue's name typed"({ browser, console, send, redis }) {
    await redis.cli("rpush", "left", "{}", "{}");
    await send("shop.echo", [1], { queue: "left" });
    const page = await browser.page();
    await page.goto(`${console.url}/queues`);
    const left = page.locator('tr[data-row="left"]');
    await left.getByText("no consumer", { exact: true }).waitFor();
    assert.equal(await left.locator('[data-label="Consumers"]').textContent(), "0");
    assert.equal(await left.locator('[data-label="Ready"]').textContent(), "3");
    const purge = page.getByRole("button", { name: "Purge mail" });
    await purge.click();
    const dialog = page.getByRole("dialog");
    const confirm = dialog.getByRole("button", { name: "Purge" });
    assert.ok(await confirm.isDisabled());
    await dialog.getByLabel("Type mail to confirm").fill("mai");
    assert.ok(await confirm.isDisabled());
    await dialog.getByLabel("Type mail to confirm").fill("mail");
    await confirm.click();
    await page.getByRole("status").getByText(/^ ?\d+ messages? deleted from mail/).waitFor();
    await page.context().close();
  },
};

/** Confirms, and the id of the task that was sent, from the report's link. */
async function sent(page: Page, button: string): Promise<string> {
  await page.getByRole("dialog").getByRole("button", { name: button }).click();
  return await opened(page);
}

/** Follows the report's link to the task that was sent; its id. */
async function opened(page: Page): Promise<string> {
  const before = page.url();
  await page.getByRole("link", { name: "Open the task" }).last().click();
  await eventually(() => page.url() !== before, "the task's page", { everyMs: 50 });
  await page.getByRole("button", { name: "Close" }).last().click();
  return page.url().split("/").at(-1)!;
}
