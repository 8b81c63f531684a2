import { App } from "lovage";

export const app = new App("retry");

/** Fails twice, like a server that is being restarted. */
export const order = app.task("retry.order", {
  bind: true,
  autoretryFor: [TypeError], // what fetch throws when nobody is there
  retryBackoff: true, // after 1 s, 2 s, 4 s ...
  retryJitter: false, // exactly; otherwise a random part of that
  maxRetries: 5,
}, (self, id: string) => {
  if (self.request.retries < 2) throw new TypeError("the server is away");
  return `${id} ordered at attempt ${self.request.retries + 1}`;
});
