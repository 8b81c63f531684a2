/** Choices that the address keeps: tabs of a page, and a row of small ones. */

import type { JSX } from "preact";
import { here, place } from "./place.ts";

/** One choice: its value in the address, "" the first, and what it says. */
export type Choice = readonly [value: string, label: string, count?: number];

/** Links that change one value of the address. `small`: as a row of buttons. */
export function Choices(
  { name, label, choices, small }: {
    name: string;
    label: string;
    choices: readonly Choice[];
    small?: boolean;
  },
): JSX.Element {
  const chosen = place.value.query.get(name) ?? "";
  return (
    <nav class={small ? "pick" : "tabs"} aria-label={label}>
      {choices.map(([value, text, count]) => (
        <a
          key={value}
          href={here({ [name]: value, cursor: null })}
          aria-current={value === chosen ? "true" : undefined}
        >
          {text}
          {count !== undefined && <span class="count">{` ${count}`}</span>}
        </a>
      ))}
    </nav>
  );
}
