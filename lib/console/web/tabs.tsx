/** Choices kept in the address: tabs of a page, and rows of small buttons. */

import type { JSX } from "preact";
import { here, place } from "./place.ts";

/** A choice: its value in the address ("" is the default), its text, and a count. */
export type Choice = readonly [value: string, label: string, count?: number];

/** Links that change one value in the address. `small`: as a row of buttons. */
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
