/** Reads the captures of tests/golden. */

/** One message of a capture; which fields it has, its README says. */
export interface GoldenMessage {
  scenario: string;
  raw: string;
  [field: string]: unknown;
}

/** The messages of `tests/golden/<name>.json`. */
export function golden(name: string): GoldenMessage[] {
  const url = new URL(`../../golden/${name}.json`, import.meta.url);
  return (JSON.parse(Deno.readTextFileSync(url)) as { messages: GoldenMessage[] }).messages;
}

/** Both versions that were captured. */
export const VERSIONS = ["5.2.6", "5.6.3"] as const;
