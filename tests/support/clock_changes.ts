/** Every change of clocks of ten years, as Temporal tells them. */

/** The first moment looked at. */
export const FROM = Date.UTC(2026, 0, 1);
/** The first moment no longer looked at. */
export const TO = Date.UTC(2036, 0, 1);

/** Moments between FROM and TO at which a zone's offset changes. */
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
