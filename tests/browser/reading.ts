/** Looking: the first paint without script, every screen by its link, searches, the state in the address. */

import assert from "node:assert/strict";
import type { Step } from "./cluster.ts";

/** The links of the navigation, with the heading that each page has. */
const PAGES = ["Overview", "Tasks", "Workers", "Queues", "Scheduled", "Periodic", "Dead letters"];

/** Steps by what they show. */
export const reading: Readonly<Record<string, Step>> = {
  async "the first paint says everything without script"({ browser, console, send, reaches }) {
    const id = await send("shop.orders.charge", [{ id: 1, total: 5 }]);
    await reaches(id, "SUCCESS");
    const page = await browser.page({ javaScriptEnabled: false });
    await page.goto(console.url);
    for (const name of PAGES) {
      await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name, exact: true }).click();
      await page.getByRole("heading", { level: 1, name }).waitFor();
    }
    await page.goto(`${console.url}/tasks?search=id:${id}`);
    await page.getByRole("link", { name: "shop.orders.charge" }).click();
    await page.getByText("receipt").first().waitFor();
    await page.goto(`${console.url}/workers`);
    await page.getByRole("cell", { name: "shop@test" }).waitFor();
    await page.goto(`${console.url}/queues`);
    await page.getByRole("cell", { name: "celery", exact: true }).waitFor();
    await page.context().close();
  },

  async "links lead to every screen, and back leads back"({ browser, console }) {
    const page = await browser.page();
    await page.goto(console.url);
    for (const name of PAGES) {
      await page.getByRole("link", { name, exact: true }).click();
      await page.getByRole("heading", { level: 1, name }).waitFor();
      assert.match(await page.title(), new RegExp(`^${name} · Lovage$`));
    }
    await page.goBack();
    await page.getByRole("heading", { level: 1, name: "Periodic" }).waitFor();
    await page.getByRole("cell", { name: "nightly report" }).waitFor();
    await page.goto(`${console.url}/nowhere`);
    await page.getByRole("heading", { name: "No such page" }).waitFor();
    await page.context().close();
  },

  async "a row leads to its task, which tells its timeline, arguments, result and the tasks around it"(
    { browser, console, send, reaches },
  ) {
    const id = await send("shop.orders.place", [2]);
    await reaches(id, "SUCCESS");
    const page = await browser.page();
    await page.goto(`${console.url}/tasks?search=root:${id}`);
    await page.getByRole("link", { name: "shop.orders.place" }).click();
    await page.getByRole("heading", { level: 1, name: "shop.orders.place" }).waitFor();
    assert.ok(page.url().endsWith(`/task/${id}`));
    for (const event of ["sent", "received", "started", "succeeded"]) {
      await page.locator("ol.line").getByText(event, { exact: true }).waitFor();
    }
    await page.getByRole("group", { name: "Positional arguments" }).getByText("2").waitFor();
    const graph = page.getByRole("region", { name: "Graph of tasks" });
    await graph.getByRole("link", { name: "shop.orders.charge" }).click();
    await page.getByRole("heading", { level: 1, name: "shop.orders.charge" }).waitFor();
    await page.getByRole("definition").getByRole("link", { name: "shop.orders.place" }).first().click();
    await page.getByRole("heading", { level: 1, name: "shop.orders.place" }).waitFor();
    await page.context().close();
  },

  async "a search stands in the address, with order and columns"({ browser, console, send, reaches }) {
    const id = await send("shop.mail.receipt", ["nobody@shop.invalid"]);
    await reaches(id, "FAILURE");
    const page = await browser.page();
    await page.goto(`${console.url}/tasks`);
    await page.keyboard.press("/");
    await page.keyboard.type("state:FAILURE name:mail exception:ValueError");
    await page.keyboard.press("Enter");
    await page.getByText("1 found", { exact: true }).waitFor();
    assert.equal(
      new URL(page.url()).searchParams.get("search"),
      "state:FAILURE name:mail exception:ValueError",
    );
    await page.getByRole("link", { name: "Success", exact: true }).click();
    await page.getByRole("heading", { name: "No task matches" }).waitFor();
    assert.match(page.url(), /state%3ASUCCESS/);
    await page.getByRole("link", { name: "Show all tasks" }).click();
    await page.getByRole("link", { name: "Run time", exact: true }).click();
    await page.locator('th[aria-sort="descending"]', { hasText: "Run time" }).waitFor();
    await page.locator("summary", { hasText: "Columns" }).click();
    await page.getByRole("checkbox", { name: "Queue" }).check();
    await page.getByRole("columnheader", { name: "Queue" }).waitFor();
    assert.match(page.url(), /sort=-runtime.*cols=queue/);
    await page.reload();
    await page.getByRole("columnheader", { name: "Queue" }).waitFor();
    await page.getByRole("searchbox").fill("runtime:>");
    await page.getByRole("button", { name: "Search" }).click();
    await page.getByRole("alert").waitFor();
    await page.getByRole("searchbox").waitFor();
    await page.context().close();
  },

  async "a list of many pages is walked through"({ browser, console, send, reaches }) {
    const ids = await Promise.all(Array.from({ length: 60 }, (_, at) => send("shop.echo", [at])));
    await Promise.all(ids.slice(-3).map((id) => reaches(id, "SUCCESS")));
    const page = await browser.page();
    await page.goto(`${console.url}/tasks?search=name:echo`);
    await page.getByText("50 on this page").waitFor();
    await page.getByRole("link", { name: "Older" }).click();
    await page.getByText(/^1\d on this page/).waitFor();
    await page.getByRole("link", { name: "Newer" }).click();
    await page.getByText("50 on this page").waitFor();
    await page.context().close();
  },

  async "keys open pages, walk through rows and tell themselves"({ browser, console }) {
    const page = await browser.page();
    await page.goto(console.url);
    await page.getByRole("switch", { name: "Live" }).waitFor();
    await page.keyboard.press("g");
    await page.keyboard.press("t");
    await page.getByRole("heading", { level: 1, name: "Tasks" }).waitFor();
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    await page.keyboard.press("x");
    await page.getByText("1 selected").waitFor();
    await page.keyboard.press("Enter");
    await page.locator("ol.line").waitFor();
    await page.keyboard.press("?");
    const dialog = page.getByRole("dialog");
    await dialog.getByText("Dead letters").waitFor();
    await dialog.getByRole("checkbox", { name: "Enable single-key shortcuts" }).uncheck();
    await dialog.getByRole("button", { name: "Done" }).click();
    await page.keyboard.press("l");
    assert.equal(await page.getByRole("switch", { name: "Live" }).getAttribute("aria-checked"), "true");
    await page.context().close();
  },

  async "theme and zone are the reader's choice and stay so"({ browser, console }) {
    const page = await browser.page({ colorScheme: "light", timezoneId: "Asia/Tokyo" });
    await page.goto(`${console.url}/tasks`);
    const clock = page.locator("tbody time").first();
    await page.waitForFunction("document.querySelector('tbody time').title.endsWith('UTC')");
    const local = await clock.textContent();
    await page.locator("summary", { hasText: "Settings" }).click();
    await page.getByRole("button", { name: "UTC" }).click();
    await page.waitForFunction("document.querySelector('tbody time').title.includes('in your zone')");
    assert.notEqual(await clock.textContent(), local);
    await page.getByRole("button", { name: "Dark" }).click();
    const background = () => page.evaluate("getComputedStyle(document.body).backgroundColor");
    const dark = await background();
    await page.reload();
    assert.equal(await background(), dark);
    assert.equal(await page.locator("html").getAttribute("data-theme"), "dark");
    await page.context().close();
  },
};
