import { App } from "lovage";

export const app = new App("shop");

/** Python catches the error as ValueError, since errors travel by name. */
class ValueError extends Error {
  override name = "ValueError";
}

export const resize = app.task("shop.resize", (path: string, width: number) => {
  if (width < 1) throw new ValueError("the width must be positive");
  return `${path} at ${width} pixels`;
});
