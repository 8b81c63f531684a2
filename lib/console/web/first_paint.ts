/** What a page begins with: the server makes it from this, sends it along, and the browser begins with the same. */

import type { Shape } from "../api/v1/schema.ts";
import { setTime } from "./clock.ts";
import { isLive } from "./live.ts";
import { address, prefix } from "./place.ts";
import { put, session } from "./store.ts";
import { theme } from "./theme.ts";

/** What the page is made of, as it stands in it. */
export interface FirstPaint {
  readonly session: Shape<"Session">;
  /** Answers of GET routes by their paths without `/api/v1/`, as `neededFor` names them. */
  readonly data: Readonly<Record<string, unknown>>;
  /** "", "light" or "dark". */
  readonly theme: string;
}

/** Puts everything in its place. `url`: path and search of the address, with the prefix. */
export function begin(url: string, first: FirstPaint): void {
  prefix.value = first.session.prefix;
  session.value = first.session;
  setTime(first.session.now);
  isLive.value = first.session.autoRefresh;
  theme.value = first.theme;
  address.value = url;
  for (const [path, answer] of Object.entries(first.data)) put(path, answer);
}
