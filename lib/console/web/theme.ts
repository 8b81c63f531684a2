/** The look: light, dark, or as the system is. A cookie keeps it, so that the server makes the page in it. */

import { type Signal, signal } from "@preact/signals";
import { prefix } from "./place.ts";

/** "" is the system's. */
export const theme: Signal<string> = signal("");

const COOKIE = "lovage_theme";

/** The look that a Cookie header tells. */
export function themeOf(cookies: string): string {
  return /(?:^|;\s*)lovage_theme=(light|dark)(?:;|$)/.exec(cookies)?.[1] ?? "";
}

/** Changes the look and keeps it for a year. */
export function setTheme(name: string): void {
  theme.value = name;
  document.documentElement.dataset["theme"] = name;
  document.cookie = `${COOKIE}=${name}; path=${prefix.value || "/"}; max-age=31536000; samesite=lax`;
}
