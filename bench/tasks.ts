/** Lovage's side of the bench: the task. */

import { App } from "lovage";

const url = Deno.env.get("BENCH_REDIS")!;
const broker = Deno.env.get("BENCH_BROKER") ?? url;
export const app = new App("bench", { broker_url: broker, result_backend: url });
export const add = app.task("bench.add", (x: number, y: number) => x + y);
