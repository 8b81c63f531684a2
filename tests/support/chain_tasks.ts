// Steps of long chains: each tells where it ran, and one loses its process when all but its outcome is done.
import { App } from "lovage";

const env = (name: string) => Deno.env.get(name) || null;
export const app = new App("chains", { broker_url: env("TEST_BROKER"), result_backend: env("TEST_BACKEND") });

/** Adds this process to those that the chain ran in. `_padding` makes the rest of the chain long. */
export const where = app.task("c.where", (before: number[], _padding: string) => [...before, Deno.pid]);

/** As `where`; its process is gone when the next step has been sent and before this one's end is told. */
export const leave = app.task("c.leave", {
  afterReturn: () => Deno.kill(Deno.pid, "SIGKILL"),
}, (before: number[], _padding: string) => [...before, Deno.pid]);
