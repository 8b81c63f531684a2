/** Every change of clocks in ten years, from Temporal. */

/** The start of these years. */
export const FROM = Date.UTC(2026, 0, 1);
/** The end of these years, exclusive. */
export const TO = Date.UTC(2036, 0, 1);

/** Returns the moments between FROM and TO at which a zone's offset changes. */
export function clockChanges(name: string): number[] {
  const found: number[] = [];
  let at = Temporal.Instant.fromEpochMilliseconds(FROM).toZonedDateTimeISO(name);
  for (;;) {
    const next = at.getTimeZoneTransition("next");
    if (next === null || next.epochMilliseconds >= TO) return found;
    if (next.offsetNanoseconds !== at.offsetNanoseconds) found.push(next.epochMilliseconds);
    at = next;
  }
}
