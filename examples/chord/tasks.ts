import { App, chord } from "lovage";

export const app = new App("chord");

export const count = app.task("chord.count", (text: string) => text.split(/\s+/).filter(Boolean).length);

export const total = app.task("chord.total", (counts: number[]) => counts.reduce((sum, n) => sum + n, 0));

/** Counts the words of all texts: one task for each text, then one with all their results. */
export async function words(texts: readonly string[]): Promise<number> {
  const sum = await chord(texts.map((text) => count.s(text)), total.s()).delay();
  return await sum.get({ timeout: 60 });
}
