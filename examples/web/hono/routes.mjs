// The routes, for every runtime.
import { Hono } from "hono";
import { startReport, statusOf, sum } from "../shop.mjs";

export const routes = new Hono();

routes.get("/sum", async (c) => c.json({ sum: await sum(Number(c.req.query("x")), Number(c.req.query("y"))) }));

routes.post("/reports", async (c) => {
  const { title } = await c.req.json();
  return c.json({ id: await startReport(title) }, 202);
});

routes.get("/reports/:id", async (c) => c.json(await statusOf(c.req.param("id"))));
