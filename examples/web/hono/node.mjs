// node node.mjs
import process from "node:process";
import { serve } from "@hono/node-server";
import { app } from "../shop.mjs";
import { routes } from "./routes.mjs";

const server = serve({ fetch: routes.fetch, port: Number(process.env.PORT ?? 8000), hostname: "127.0.0.1" });

process.once("SIGTERM", async () => {
  server.close();
  server.closeIdleConnections();
  await app.close();
});
