/** How values are printed: plain for people, JSON for programs. */

/** A task's result on one line or as JSON text: strings as they are, everything else as JSON. */
export function plain(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value ?? null);
}

/** One line of JSON. */
export function jsonLine(value: unknown): string {
  return JSON.stringify(value ?? null) + "\n";
}
