import { App } from "lovage";

export const app = new App("progress");

/** Works in twenty steps, and reports its progress after each. */
export const bake = app.task("progress.bake", { bind: true }, async (self, what: string) => {
  for (let done = 5; done < 100; done += 5) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    await self.updateState("PROGRESS", { done });
  }
  return `${what}, fresh from the oven`;
});
