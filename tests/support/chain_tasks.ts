// Steps of long chains: each returns the process it ran in, and one loses its process when only its outcome
// is missing.
import { App } from "lovage";

const env = (name: string) => Deno.env.get(name) || null;
export const app = new App("chains", { broker_url: env("TEST_BROKER"), result_backend: env("TEST_BACKEND") });

/**
 * Adds this process to the list of those that the chain ran in. `_padding` makes the rest of the chain long.
 */
export const where = app.task("c.where", (before: number[], _padding: string) => [...before, Deno.pid]);

/** Does the same; its process dies after the next step was sent and before its own end is reported. */
export const leave = app.task("c.leave", {
  afterReturn: () => Deno.kill(Deno.pid, "SIGKILL"),
}, (before: number[], _padding: string) => [...before, Deno.pid]);
