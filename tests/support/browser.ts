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
  /** Errors of scripts, and requests refused by the content policy. */
  readonly #complaints: string[] = [];

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async start(): Promise<TestBrowser> {
    return new TestBrowser(
      await chromium.launch({
        executablePath: "/usr/bin/chromium",
        // Chromium's sandbox does not work for root.
        args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        timeout: PATIENCE_MS,
      }),
    );
  }

  /** Opens a page for one reader, with its own cookies. Close it, or its context, after use. */
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
      // Error statuses that a test provokes are not complaints.
      if (message.type() === "error" && !/status of (400|401|403|404|503)|ERR_/.test(text)) {
        this.#complaints.push(`${page.url()} ${text}`);
      }
    });
    // A native dialog means that a script ran which should not.
    page.on("dialog", (dialog) => {
      this.#complaints.push(`${page.url()} opened a dialog: ${dialog.message()}`);
      dialog.dismiss().catch(() => {}); // the page may be gone
    });
    return page;
  }

  /** Fails if pages had complaints since the last call. */
  mustBeQuiet(): void {
    assert.deepEqual(this.#complaints.splice(0), []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
  }
}

/**
 * Returns what axe-core finds wrong with a page, one line each. The context must bypass the content policy.
 */
export async function violations(page: Page): Promise<string[]> {
  await page.evaluate((axe as unknown as { source: string }).source);
  const { violations } = await page.evaluate('axe.run({ resultTypes: ["violations"] })') as {
    violations: { id: string; nodes: { target: string[]; failureSummary: string }[] }[];
  };
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${target.join(" ")} ${failureSummary}`)
  );
}
