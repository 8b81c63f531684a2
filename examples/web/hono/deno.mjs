// deno run --allow-net --allow-env --allow-read --allow-sys deno.mjs
import { app } from "../shop.mjs";
import { routes } from "./routes.mjs";

const server = Deno.serve({ port: Number(Deno.env.get("PORT") ?? 8000), hostname: "127.0.0.1" }, routes.fetch);

Deno.addSignalListener("SIGTERM", async () => {
  await server.shutdown();
  await app.close();
  Deno.exit();
});
