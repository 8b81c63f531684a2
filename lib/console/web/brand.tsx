/** The logo: a lovage leaf. */

import type { JSX } from "preact";

const LEAF = "M10 8C7.5 6.5 7.5 3 10 1c2.5 2 2.5 5.5 0 7ZM5.5 11C3 11.5 1 9.5 1 6.5c3 0 5 2 4.5 4.5Z" +
  "M14.5 11c2.5.5 4.5-1.5 4.5-4.5-3 0-5 2-4.5 4.5Z";

/** The leaf; hidden from screen readers, since the name follows it. */
export function Brand(): JSX.Element {
  return (
    <svg
      width="20"
      height="20"
      viewBox="0 0 20 20"
      fill="none"
      stroke="currentColor"
      stroke-width="1.6"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      <path d="M10 19V8M10 14 5.5 11M10 14l4.5-3" />
      <path d={LEAF} />
    </svg>
  );
}
