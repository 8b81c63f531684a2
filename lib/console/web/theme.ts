/** The theme: light, dark, or the system's. A cookie stores it, so that the server renders with it. */

import { type Signal, signal } from "@preact/signals";
import { prefix } from "./place.ts";

/** "light", "dark", or "" for the system's. */
export const theme: Signal<string> = signal("");

const COOKIE = "lovage_theme";

/** Returns the theme in a Cookie header. */
export function themeOf(cookies: string): string {
  return /(?:^|;\s*)lovage_theme=(light|dark)(?:;|$)/.exec(cookies)?.[1] ?? "";
}

/** Changes the theme and stores it for a year. */
export function setTheme(name: string): void {
  theme.value = name;
  document.documentElement.dataset["theme"] = name;
  document.cookie = `${COOKIE}=${name}; path=${prefix.value || "/"}; max-age=31536000; samesite=lax`;
}
