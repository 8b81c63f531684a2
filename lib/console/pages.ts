/** The pages, rendered on the server for the first paint, and the files that they load. */

import { Hono } from "hono/quick";
import { atMost, OperatingError } from "../base/mod.ts";
import { PAGE_FILES, type PageFile, pageFile } from "../platform/mod.ts";
import { fromPlainJson } from "../wire/mod.ts";
import { webJson } from "./api/json.ts";
import type { Ctx, Env, Parts } from "./api/request.ts";
import type { ConsoleOptions } from "./options.ts";
import type { Shape } from "./shapes.ts";

/** Everything that pages need. */
export interface PageParts {
  readonly parts: Parts;
  readonly options: ConsoleOptions;
  session(c: Ctx): Shape<"Session">;
  /** Answers a request without a valid login. */
  login(c: Ctx): Response;
  /** Requests data from the API with the identity of the page's request; sends a POST if there is a body. */
  ask(c: Ctx, path: string, body?: string): Promise<Response>;
  /** Returns `next` if it is a path of this console, else the start page. */
  safeNext(next: string | undefined): string;
}

/** How long the first paint waits for its data; the browser fetches data that arrives later. */
const ANSWER_MS = 500;
const TYPES: Readonly<Record<string, string>> = {
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
};
/** How long after the start the pages' files are read, if no request came before. */
const WARM_MS = 1500;
const YEAR_SECONDS = 31_536_000;

interface Asset {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly gzipped: Uint8Array<ArrayBuffer>;
  readonly hash: string;
}

/** The routes of pages and files. */
export function pageRoutes(pages: PageParts): Hono<Env> {
  const routes = new Hono<Env>();
  const assets = new Assets();
  // Later, so that reading them does not delay the first page.
  const { clock } = pages.parts.cluster.world;
  clock.arm(clock.monoMs() + WARM_MS, () => assets.warm());
  routes.get("/assets/:name", (c) => assets.answer(c, c.req.param("name")));
  routes.get("/broker", (c) => c.redirect(`${pages.options.prefix}/queues`));
  routes.post("/login", (c) => loggedIn(c, pages));
  routes.post("/logout", async (c) => {
    const { headers } = await pages.ask(c, "logout", "{}");
    return seeOther(`${pages.options.prefix}/`, headers.getSetCookie());
  });
  routes.get(
    "/*",
    (c) => c.req.path.startsWith(`${pages.options.prefix}/api/`) ? c.notFound() : draw(c, pages, assets),
  );
  return routes;
}

/** Handles the form of the login page, which works without script. */
async function loggedIn(c: Ctx, { options, ask, safeNext }: PageParts): Promise<Response> {
  const form = await c.req.parseBody();
  const given = ["user", "password", "token"].flatMap((name) => {
    const text = form[name];
    return typeof text === "string" && text !== "" ? [[name, text] as const] : [];
  });
  const next = safeNext(typeof form["next"] === "string" ? form["next"] : undefined);
  const response = await ask(c, "login", webJson(Object.fromEntries(given)));
  if (response.ok) return seeOther(next, response.headers.getSetCookie());
  const { error } = await response.json();
  const query = new URLSearchParams({ error, next });
  return seeOther(`${options.prefix}/login?${query}`, []);
}

function seeOther(location: string, cookies: readonly string[]): Response {
  const headers = new Headers({ location, "cache-control": "no-store" });
  for (const cookie of cookies) headers.append("set-cookie", cookie);
  return new Response(null, { status: 303, headers });
}

async function draw(c: Ctx, pages: PageParts, assets: Assets): Promise<Response> {
  const { prefix } = pages.options;
  const cut = c.req.url.indexOf("?");
  const url = c.req.path + (cut < 0 ? "" : c.req.url.slice(cut));
  const { neededFor, page } = await import("./web/shell.ts");
  const needed = neededFor(url, prefix);
  const session = pages.session(c);
  const isLogin = c.req.path.replace(/\/+$/, "") === `${prefix}/login`;
  if (!session.isLoggedIn && !isLogin) return pages.login(c);
  const data: Record<string, unknown> = {};
  if (session.isLoggedIn) {
    await Promise.all((needed ?? []).map(async (path) => {
      const asking = pages.ask(c, path).then(async (response) => {
        if (response.ok) data[path] = fromPlainJson(await response.text());
      });
      await atMost(pages.parts.cluster.world.clock, ANSWER_MS, asking);
    }));
  }
  // Rendered in one turn, because all requests share the module state of the pages.
  const html = page(url, { ...data }, session, {
    cookie: c.req.header("cookie") ?? null,
    ...(assets.version === null ? {} : { version: assets.version }),
  });
  return c.html(html, needed === null ? 404 : 200, { "cache-control": "no-store" });
}

/** Script, stylesheet and icon, read once. */
class Assets {
  readonly #read = new Map<PageFile, Promise<Asset>>();
  /**
   * A hash over all files, once they are read. It is appended to their names, so that browsers cache them.
   */
  version: string | null = null;

  /** Reads all files. */
  warm(): void {
    const names = Object.keys(PAGE_FILES) as PageFile[];
    Promise.all(names.map((name) => this.#asset(name))).then(
      (all) => this.version = all.map(({ hash }) => hash.slice(0, 6)).join(""),
      // A request for the file reports why it cannot be read.
      () => {},
    );
  }

  async answer(c: Ctx, name: string): Promise<Response> {
    if (!Object.hasOwn(PAGE_FILES, name)) return c.text("Not found", 404);
    let asset: Asset;
    try {
      asset = await this.#asset(name as PageFile);
    } catch (error) {
      if (error instanceof OperatingError) return c.text(error.message, 500);
      throw error;
    }
    const tag = `"${asset.hash}"`;
    const isNamed = c.req.query("v") !== undefined && c.req.query("v") === this.version;
    const headers: Record<string, string> = {
      "content-type": TYPES[name.split(".").at(-1)!]!,
      "cache-control": isNamed ? `public, max-age=${YEAR_SECONDS}, immutable` : "no-cache",
      "etag": tag,
      "vary": "accept-encoding",
    };
    if (c.req.header("if-none-match") === tag) return new Response(null, { status: 304, headers });
    const isGzipped = c.req.header("accept-encoding")?.includes("gzip") ?? false;
    if (isGzipped) headers["content-encoding"] = "gzip";
    return new Response(isGzipped ? asset.gzipped : asset.bytes, { headers });
  }

  #asset(name: PageFile): Promise<Asset> {
    let reading = this.#read.get(name);
    if (reading === undefined) {
      this.#read.set(name, reading = load(name));
      reading.catch(() => this.#read.delete(name));
    }
    return reading;
  }
}

async function load(name: PageFile): Promise<Asset> {
  const bytes = await pageFile(name);
  const { gzipSync } = await import("node:zlib");
  return {
    bytes,
    gzipped: new Uint8Array(gzipSync(bytes, { level: 9 })),
    hash: new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex().slice(0, 16),
  };
}
