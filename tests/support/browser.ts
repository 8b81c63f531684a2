/** Debian's chromium for the tests of the console's pages: one browser, a context for each reader. */

import assert from "node:assert/strict";
import axe from "axe-core";
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from "playwright-core";
import { PATIENCE_MS } from "./ports.ts";

/** A browser that ends with the test. */
export class TestBrowser implements AsyncDisposable {
  readonly #browser: Browser;
  /** What pages complained of: errors of script, and what the content policy refused. */
  readonly #complaints: string[] = [];

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async start(): Promise<TestBrowser> {
    return new TestBrowser(
      await chromium.launch({
        executablePath: "/usr/bin/chromium",
        // Root has no sandbox of its own.
        args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        timeout: PATIENCE_MS,
      }),
    );
  }

  /** A reader's page, with cookies of its own. `close` it, or its context, after use. */
  async page(options: BrowserContextOptions = {}): Promise<Page> {
    const context: BrowserContext = await this.#browser.newContext({
      viewport: { width: 1280, height: 900 },
      ...options,
    });
    context.setDefaultTimeout(PATIENCE_MS);
    const page = await context.newPage();
    page.on("pageerror", (error) => this.#complaints.push(`${page.url()} ${error.stack}`));
    page.on("console", (message) => {
      const text = message.text();
      // What a test asks for on purpose is answered with an error's status.
      if (message.type() === "error" && !/status of (400|401|403|404|503)|ERR_/.test(text)) {
        this.#complaints.push(`${page.url()} ${text}`);
      }
    });
    // A dialog of the browser's own is a script that should not have run.
    page.on("dialog", (dialog) => {
      this.#complaints.push(`${page.url()} opened a dialog: ${dialog.message()}`);
      dialog.dismiss().catch(() => {}); // the page may be gone
    });
    return page;
  }

  /** Fails with what pages complained of since the last time. */
  mustBeQuiet(): void {
    assert.deepEqual(this.#complaints.splice(0), []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
  }
}

/** What axe-core finds wrong with a page as it is now, a line each. The context must bypass the content policy. */
export async function violations(page: Page): Promise<string[]> {
  await page.evaluate((axe as unknown as { source: string }).source);
  const { violations } = await page.evaluate('axe.run({ resultTypes: ["violations"] })') as {
    violations: { id: string; nodes: { target: string[]; failureSummary: string }[] }[];
  };
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${target.join(" ")} ${failureSummary}`)
  );
}
