/** The tasks that the captured messages name, for a worker to be fuzzed with. */

import { App } from "lovage";

export const app = new App("fuzz");

app.task("tasks.add", (x: number, y: number) => x + y);
app.task("tasks.echo", (...args: unknown[]) => args);
app.task("tasks.fail", () => {
  throw new Error("boom");
});
app.task("tasks.no_result", { ignoreResult: true }, () => null);
app.task("t.types", (...args: unknown[]) => args.length);
app.task("t.long", (...args: unknown[]) => args.length);
