/**
 * The initial data of a page: the server renders with it and embeds it, and the browser starts with the same
 * data.
 */

import type { Shape } from "../api/v1/schema.ts";
import { setTime } from "./clock.ts";
import { isLive } from "./live.ts";
import { address, prefix } from "./place.ts";
import { put, session } from "./store.ts";
import { theme } from "./theme.ts";

/** The initial data, as embedded in the page. */
export interface FirstPaint {
  readonly session: Shape<"Session">;
  /** Answers of GET routes by their paths without `/api/v1/`, as `neededFor` names them. */
  readonly data: Readonly<Record<string, unknown>>;
  /** "", "light" or "dark". */
  readonly theme: string;
}

/** Initialises the state of the page. `url` is the path and search of the address, with the prefix. */
export function begin(url: string, first: FirstPaint): void {
  prefix.value = first.session.prefix;
  session.value = first.session;
  setTime(first.session.now);
  isLive.value = first.session.autoRefresh;
  theme.value = first.theme;
  address.value = url;
  for (const [path, answer] of Object.entries(first.data)) put(path, answer);
}
