// Shared by the servers here: one App for the process, which opens its connections at the first call.
// Broker and result store come from CELERY_BROKER_URL and CELERY_RESULT_BACKEND.
import { App } from "lovage";

export const app = new App("shop");

/** Sends a task and waits for its result: for short tasks. Rejects if no worker has run it within 10 s. */
export async function sum(x, y) {
  const result = await app.sendTask("shop.add", { args: [x, y] });
  return await result.get({ timeout: 10 });
}

/** Sends a task and returns its id: for tasks that take longer than a request should. */
export async function startReport(title) {
  const { id } = await app.sendTask("shop.report", { args: [title] });
  return id;
}

/** Returns the state of a task. */
export async function statusOf(id) {
  const result = app.AsyncResult(id);
  const state = await result.state();
  return state === "SUCCESS" ? { id, state, result: await result.get() } : { id, state };
}
