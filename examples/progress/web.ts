import { app, bake } from "./tasks.ts";

const page = await Deno.readTextFile(new URL("page.html", import.meta.url));

/**
 * `POST /bake?what=bread` starts a task, `GET /bake/ID` returns its progress, everything else is the page.
 */
async function answer(request: Request): Promise<Response> {
  const { pathname, searchParams } = new URL(request.url);
  if (request.method === "POST" && pathname === "/bake") {
    const { id } = await bake.delay(searchParams.get("what") ?? "bread");
    return Response.json({ id }, { status: 202 });
  }
  const id = /^\/bake\/([\w-]+)$/.exec(pathname)?.[1];
  if (id === undefined) {
    return new Response(page, { headers: { "content-type": "text/html; charset=utf-8" } });
  }
  const result = app.AsyncResult(id);
  return Response.json({ state: await result.state(), info: await result.info() });
}

const port = Number(Deno.env.get("PORT") ?? 8000);
const server = Deno.serve({ hostname: "127.0.0.1", port, onListen: () => {} }, answer);
console.log(`http://127.0.0.1:${server.addr.port}/`);
Deno.addSignalListener("SIGTERM", () => server.shutdown());
await server.finished;
await app.close();
