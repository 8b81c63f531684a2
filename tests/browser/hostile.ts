/** Whatever tasks and workers say is text: no script of theirs runs, no element of theirs is made. */

import assert from "node:assert/strict";
import { startShop, type Step, type TestCluster } from "./cluster.ts";

/** Ends a script, an attribute, a title and an element, and runs in each. */
const EVIL = `</script><script>alert(1)</script>"'><img src=x onerror=alert(2)><svg onload=alert(3)>{{7*7}}`;
/** A worker's name. */
const EVIL_NODE = `"><img src=x onerror=alert(4)>@test`;
let failed = "";
let unknown = "";

/** Has tasks and a worker whose every text is hostile. */
export async function startBroken({ send }: TestCluster): Promise<void> {
  failed = await send("shop.broken", [EVIL], { kwargs: {} });
  unknown = await send(`shop.${EVIL}`, [EVIL], { kwargs: { [EVIL]: EVIL } });
  await send("shop.echo", [{ [EVIL]: EVIL }]);
}

/** Steps by what they show. */
export const hostile: Readonly<Record<string, Step>> = {
  async "script in names, arguments, results, exceptions and tracebacks is text"(
    { browser, console, reaches },
  ) {
    await reaches(failed, "FAILURE");
    const page = await browser.page();
    const paths = [
      "/",
      "/tasks",
      "/tasks?cols=name&cols=args&cols=kwargs&cols=result&cols=exception&cols=worker",
      `/task/${failed}`,
      `/task/${unknown}`,
      `/tasks?search=${encodeURIComponent(EVIL)}`,
      `/task/${encodeURIComponent(EVIL)}`,
      `/worker/${encodeURIComponent(EVIL)}`,
      `/run?name=${encodeURIComponent(EVIL)}`,
      `/login?error=${encodeURIComponent(EVIL)}&next=${encodeURIComponent(EVIL)}`,
      "/dead",
      "/dead?kind=failed",
    ];
    for (const path of paths) {
      await page.goto(console.url + path);
      await page.locator("h1").waitFor();
      // Script has taken over: the page shows what it fetched as well.
      await page.waitForFunction("document.title.endsWith('Lovage')");
      assert.equal(await page.locator("img, svg[onload], #app script").count(), 0, path);
    }
    await page.goto(`${console.url}/task/${failed}`);
    await page.getByRole("group", { name: "Exception" }).getByText("<script>alert(1)</script>").waitFor();
    await page.context().close();
  },

  async "script in a worker's name is text"({ browser, console, place, send, reaches }) {
    await using _worker = await startShop(place, ["-n", EVIL_NODE, "-P", "solo", "-Q", "evil"]);
    const id = await send("shop.echo", [1], { queue: "evil" });
    await reaches(id, "SUCCESS");
    const page = await browser.page();
    for (const path of ["/workers", `/worker/${encodeURIComponent(EVIL_NODE)}`, `/task/${id}`]) {
      await page.goto(console.url + path);
      await page.locator("main").getByText(EVIL_NODE).first().waitFor();
      assert.equal(await page.locator("img").count(), 0, path);
    }
    await page.getByRole("definition").getByRole("link", { name: EVIL_NODE }).click();
    await page.getByRole("heading", { level: 1, name: EVIL_NODE }).waitFor();
    await page.context().close();
  },
};
