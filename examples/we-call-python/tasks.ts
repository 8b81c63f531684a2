import { App } from "lovage";

export const app = new App("shop", { task_routes: { "stats.*": { queue: "python" } } });

export const round = app.task("shop.round", (value: number) => Math.round(value * 100) / 100);
