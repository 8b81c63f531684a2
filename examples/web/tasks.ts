/** The workers' tasks, for each of these web servers: `lovage -A tasks.ts worker`. */

import { App } from "lovage";

export const app = new App("shop");

export const add = app.task("shop.add", (x: number, y: number) => x + y);

export const slow = app.task("shop.report", async (title: string) => {
  await new Promise<void>((resolve) => setTimeout(resolve, 50));
  return `${title}, written`;
});
