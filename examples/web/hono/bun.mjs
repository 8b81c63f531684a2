// bun bun.mjs
import process from "node:process";
import { app } from "../shop.mjs";
import { routes } from "./routes.mjs";

const server = Bun.serve({ fetch: routes.fetch, port: Number(process.env.PORT ?? 8000), hostname: "127.0.0.1" });

process.once("SIGTERM", async () => {
  await server.stop();
  await app.close();
});
