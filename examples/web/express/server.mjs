// node server.mjs
import process from "node:process";
import express from "express";
import { app, startReport, statusOf, sum } from "../shop.mjs";

const web = express();
web.use(express.json());

web.get("/sum", async (request, response) => {
  response.json({ sum: await sum(Number(request.query.x), Number(request.query.y)) });
});

web.post("/reports", async (request, response) => {
  response.status(202).json({ id: await startReport(request.body.title) });
});

web.get("/reports/:id", async (request, response) => {
  response.json(await statusOf(request.params.id));
});

const server = web.listen(Number(process.env.PORT ?? 8000), "127.0.0.1");

process.once("SIGTERM", async () => {
  server.close();
  server.closeIdleConnections();
  await app.close();
});
