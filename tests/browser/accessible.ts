/** Every screen is without a violation that axe-core finds, light and dark, wide and narrow, and fits 320 pixels. */

import assert from "node:assert/strict";
import { violations } from "../support/browser.ts";
import type { Step } from "./cluster.ts";

/** A page of each layout. */
const NARROW = new Set(["/", "/tasks?limit=8", "/worker/shop@test", "/queues", "/run"]);

/** Steps by what they show. */
export const accessible: Readonly<Record<string, Step>> = {
  async "axe-core finds nothing on any screen in either theme, and nothing is wider than 320 pixels"(
    { browser, console },
  ) {
    const { rows } = await console.api<{ rows: { id: string }[] }>("tasks?search=state:FAILURE&limit=1");
    const paths = [
      "/",
      "/tasks?limit=8",
      "/tasks?search=name:nothing",
      `/task/${rows[0]!.id}`,
      "/workers",
      ...["", "?tab=queues", "?tab=active", "?tab=limits", "?tab=conf", "?tab=stats"].map((tab) =>
        `/worker/shop@test${tab}`
      ),
      "/queues",
      "/scheduled",
      "/periodic",
      "/dead?kind=failed",
      "/run",
      "/login",
      "/nowhere",
    ];
    for (const colorScheme of ["light", "dark"] as const) {
      const page = await browser.page({ colorScheme, bypassCSP: true, reducedMotion: "reduce" });
      for (const path of paths) {
        await page.setViewportSize({ width: 1280, height: 900 });
        await page.goto(console.url + path);
        await page.locator("h1").waitFor();
        assert.deepEqual(await violations(page), [], `${path}, ${colorScheme}`);
        await page.setViewportSize({ width: 320, height: 640 });
        // What is narrow has its own layout, in the same colours.
        if (colorScheme === "dark" && NARROW.has(path)) {
          assert.deepEqual(await violations(page), [], `${path}, narrow`);
        }
        const over = await page.evaluate("document.documentElement.scrollWidth - innerWidth") as number;
        assert.ok(over <= 0, `${path} is ${over} pixels too wide`);
      }
      await page.context().close();
    }
  },

  async "every page's link is in sight at 320 pixels"({ browser, console }) {
    const page = await browser.page({ viewport: { width: 320, height: 640 } });
    await page.goto(`${console.url}/dead`);
    const links = page.getByRole("navigation", { name: "Pages" }).getByRole("link");
    assert.equal(await links.count(), 7);
    for (const link of await links.all()) {
      const { x, y, width, height } = (await link.boundingBox())!;
      const isInSight = x >= 0 && y >= 0 && x + width <= 320 && y + height <= 640;
      assert.ok(isInSight, `${await link.textContent()} is at ${x}, ${y}`);
    }
    await page.context().close();
  },

  async "no cell of a table is cut off at 320 pixels"({ browser, console }) {
    const page = await browser.page({ viewport: { width: 320, height: 640 } });
    for (
      const path of [
        "/",
        "/workers",
        "/worker/shop@test?tab=limits",
        "/queues",
        "/periodic",
        "/dead?kind=failed",
      ]
    ) {
      await page.goto(console.url + path);
      await page.locator("td").first().waitFor({ state: "attached" });
      const cut = await page.evaluate(`[...document.querySelectorAll("td:not(.tick)")]
        .filter((cell) => cell.scrollWidth > cell.clientWidth + 1).map((cell) => cell.textContent)`);
      assert.deepEqual(cut, [], path);
    }
    await page.context().close();
  },

  async "dialogs and reports have no violation, and focus comes back"({ browser, console }) {
    const page = await browser.page({ bypassCSP: true });
    await page.goto(`${console.url}/queues`);
    const purge = page.getByRole("button", { name: "Purge mail" });
    await purge.click();
    await page.getByRole("dialog").waitFor();
    assert.deepEqual(await violations(page), []);
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    assert.equal(await purge.evaluate((button: unknown) => button === document.activeElement), true);
    await page.context().close();
  },

  async "the focus goes to the heading of a new page, to the search, and back from a dialog"(
    { browser, console },
  ) {
    const page = await browser.page();
    page.setDefaultTimeout(15_000);
    await page.goto(`${console.url}/`);
    await page.locator("h1").waitFor();
    await page.keyboard.press("g");
    await page.keyboard.press("q");
    await page.locator("h1:focus", { hasText: "Queues" }).waitFor();
    const purge = page.getByRole("button", { name: "Purge mail" });
    await purge.focus();
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.locator("button:focus", { hasText: "Purge mail" }).waitFor();
    await page.keyboard.press("/");
    await page.locator("[type=search]:focus").waitFor();
    await page.context().close();
  },
};
