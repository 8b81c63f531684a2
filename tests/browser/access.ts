/** Who may: forms that log in with and without script, read-only readers, a prefix behind a proxy. */

import assert from "node:assert/strict";
import { startConsole } from "../support/console.ts";
import { startIssuer } from "../support/oidc_issuer.ts";
import type { Step } from "./cluster.ts";

/** Steps by what they show. */
export const access: Readonly<Record<string, Step>> = {
  async "a login form with password or token, with and without script"({ browser, place }) {
    await using console = await startConsole(place, {
      args: ["--basic-auth", "kim:fine leaves", "--token", "admin:a-long-token-of-the-tests"],
    });
    for (const javaScriptEnabled of [true, false]) {
      const page = await browser.page({ javaScriptEnabled });
      await page.goto(`${console.url}/workers`);
      assert.match(page.url(), /\/login\?next=/);
      await page.getByLabel("User").fill("kim");
      await page.getByLabel("Password").fill("wrong");
      await page.getByRole("button", { name: "Log in", exact: true }).click();
      await page.getByRole("alert").waitFor();
      await page.getByLabel("User").fill("kim");
      await page.getByLabel("Password").fill("fine leaves");
      await page.getByRole("button", { name: "Log in", exact: true }).click();
      await page.getByRole("heading", { level: 1, name: "Workers" }).waitFor();
      await page.locator("summary", { hasText: "Settings" }).click();
      await page.getByRole("button", { name: "Log out" }).click();
      await page.getByLabel("Token").fill("a-long-token-of-the-tests");
      await page.getByRole("button", { name: "Log in with the token" }).click();
      await page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
      await page.context().close();
    }
  },

  async "a button logs in at an OpenID Connect issuer, and leads where one wanted to go"({ browser, place }) {
    await using issuer = await startIssuer("ui");
    issuer.claims = { sub: "1", email: "kim@example.org", email_verified: true };
    const options = ["--oidc-issuer", issuer.url, "--oidc-client-id", "ui", "--oidc-allow", ".*@example.org"];
    await using console = await startConsole(place, { args: options });
    const page = await browser.page();
    await page.goto(`${console.url}/workers`);
    await page.getByRole("link", { name: new URL(issuer.url).host }).click();
    await page.getByRole("heading", { level: 1, name: "Workers" }).waitFor();
    await page.locator("summary", { hasText: "Settings" }).click();
    await page.getByText("kim@example.org").waitFor();
    await console.program.says(/audit user=kim@example\.org .* action=login .* outcome=ok/);
    issuer.claims = { sub: "2", email: "kim@example.com", email_verified: true };
    const other = await browser.page();
    await other.goto(`${console.url}/login`);
    await other.getByRole("link", { name: new URL(issuer.url).host }).click();
    await other.getByText("may not use this console").waitFor();
    await page.context().close();
    await other.context().close();
  },

  async "who may only read sees no action"({ browser, place, send, console: open, reaches }) {
    const id = await send("shop.broken", ["read only"]);
    await reaches(id, "FAILURE");
    const failed = await open.api<{ rows: unknown[] }>("letters/failed");
    assert.ok(failed.rows.length > 0);
    await using console = await startConsole(place, { args: ["--read-only"] });
    const page = await browser.page();
    for (
      const path of [
        "/",
        "/tasks",
        `/task/${id}`,
        "/workers",
        "/worker/shop@test",
        "/queues",
        "/dead?kind=failed",
        "/run",
      ]
    ) {
      await page.goto(console.url + path);
      await page.locator("h1").waitFor();
      const buttons = await page.locator("main button, dialog button").allTextContents();
      assert.deepEqual(buttons.filter((text) => !/^(Search|Show|Copy|Newer|Older)/.test(text)), [], path);
    }
    await page.getByText("read only").waitFor();
    await page.context().close();
  },

  async "a prefix behind a proxy"({ browser, place, send }) {
    await using console = await startConsole(place, { prefix: "/ops/tasks" });
    await using proxy = startProxy(new URL(console.url).origin);
    const page = await browser.page();
    const gone: string[] = [];
    page.on("response", (response) => {
      if (response.status() >= 400) gone.push(`${response.status()} ${response.url()}`);
    });
    await page.goto(`${proxy.url}/ops/tasks/`);
    await page.getByRole("link", { name: "Tasks", exact: true }).click();
    await page.getByRole("heading", { level: 1, name: "Tasks" }).waitFor();
    assert.equal(page.url(), `${proxy.url}/ops/tasks/tasks`);
    await page.getByRole("searchbox").fill("name:prefixed");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "No task matches" }).waitFor();
    await send("shop.echo", ["prefixed"]);
    await page.getByRole("searchbox").fill("args:prefixed");
    await page.keyboard.press("Enter");
    await page.getByText("1 found", { exact: true }).waitFor();
    await page.getByRole("link", { name: "shop.echo" }).click();
    await page.getByRole("button", { name: /Replay|Retry/ }).waitFor();
    assert.deepEqual(gone, []);
    await page.context().close();
  },
};

/** A proxy that hands everything on as it came. */
function startProxy(target: string): { url: string } & AsyncDisposable {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {}, onError }, async (request) => {
    const { pathname: path, search } = new URL(request.url); // handed on as it is
    const headers = new Headers(request.headers);
    const body = request.body === null ? null : await request.arrayBuffer();
    return await fetch(`${target}${path}${search}`, {
      method: request.method,
      headers,
      body,
      redirect: "manual",
      signal: request.signal,
    });
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** A reader who goes away ends what was asked for him. */
function onError(): Response {
  return new Response("gone", { status: 502 });
}
