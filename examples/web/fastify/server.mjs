// node server.mjs
import process from "node:process";
import fastify from "fastify";
import { app, startReport, statusOf, sum } from "../shop.mjs";

const web = fastify({ forceCloseConnections: "idle" });

web.get("/sum", async ({ query }) => ({ sum: await sum(Number(query.x), Number(query.y)) }));

web.post("/reports", async ({ body }, reply) => {
  reply.code(202);
  return { id: await startReport(body.title) };
});

web.get("/reports/:id", ({ params }) => statusOf(params.id));

web.addHook("onClose", () => app.close());

await web.listen({ port: Number(process.env.PORT ?? 8000), host: "127.0.0.1" });

process.once("SIGTERM", () => web.close());
