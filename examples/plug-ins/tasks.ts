import { App } from "lovage";

export const app = new App("plug-ins");

/** No permissions, and 64 MiB of memory. */
const LIMITS = { permissions: {}, memoryLimit: 64, timeLimit: 30 } as const;

// Imported inside the function, so that a plug-in is loaded only in the sandbox, never in the worker.
export const shout = app.task("plug-ins.shout", LIMITS, async (text: string) => {
  return (await import("./plugins/shout.ts")).default(text);
});
export const nosy = app.task("plug-ins.nosy", LIMITS, async (text: string) => {
  return (await import("./plugins/nosy.ts")).default(text);
});
export const endless = app.task("plug-ins.endless", { ...LIMITS, timeLimit: 2 }, async (text: string) => {
  return (await import("./plugins/endless.ts")).default(text);
});
