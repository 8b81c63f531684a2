/** Tables: columns are data, the order is part of the address, and rows are cards on narrow screens. */

import { type Signal, signal } from "@preact/signals";
import type { ComponentChild, ComponentChildren, JSX } from "preact";
import { here, place } from "./place.ts";

/** A column. */
export interface Column<Row> {
  readonly label: string;
  readonly cell: (row: Row) => ComponentChild;
  /** "num": right-aligned. "key": the name of the row. "acts": buttons. */
  readonly kind?: "num" | "key" | "acts";
  /** The API's sort key; absent: not sortable. */
  readonly sort?: string;
}

/** The ids of the selected rows on this page. */
export const chosen: Signal<ReadonlySet<string>> = signal(new Set());

function choose(ids: readonly string[], on: boolean): void {
  const next = new Set(chosen.value);
  for (const id of ids) on ? next.add(id) : next.delete(id);
  chosen.value = next;
}

/** A table, or `children` if there are no rows. `tick`: with checkboxes to select rows. */
export function Table<Row>(
  { label, rows, columns, id, children, tick = false, sorted }: {
    label: string;
    rows: readonly Row[];
    columns: readonly (Column<Row> | false)[];
    id: (row: Row) => string;
    /** Shown if there are no rows. */
    children?: ComponentChildren;
    tick?: boolean;
    /** The order if the address names none. */
    sorted?: string;
  },
): JSX.Element {
  if (rows.length === 0 && children !== undefined) return <>{children}</>;
  const shown = columns.filter((column) => column !== false);
  const ids = rows.map(id);
  const all = tick && ids.length > 0 && ids.every((one) => chosen.value.has(one));
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={label}>
      <table role="table">
        <thead role="rowgroup">
          <tr role="row">
            {tick && (
              <th class="tick" role="columnheader">
                <Tick label="Select all on this page" on={all} turn={(on) => choose(ids, on)} />
              </th>
            )}
            {shown.map((column) => <HeadCell key={column.label} {...column} sorted={sorted} />)}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {rows.map((row, at) => (
            <tr key={ids[at]} role="row" data-row={ids[at]}>
              {tick && (
                <td class="tick" role="cell">
                  <Tick
                    label={`Select ${ids[at]}`}
                    on={chosen.value.has(ids[at]!)}
                    turn={(on) => choose([ids[at]!], on)}
                  />
                </td>
              )}
              {shown.map(({ label, cell, kind = "" }) => (
                <td
                  key={label}
                  role="cell"
                  class={kind === "acts" ? "acts-cell" : kind}
                  data-label={kind === "acts" ? undefined : label}
                >
                  {cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Tick({ label, on, turn }: { label: string; on: boolean; turn: (on: boolean) => void }): JSX.Element {
  return (
    <input
      type="checkbox"
      aria-label={label}
      checked={on}
      onChange={(event) => turn(event.currentTarget.checked)}
    />
  );
}

/** A column's header; a link that sorts, if the API can sort by it. */
function HeadCell(
  { label, kind = "", sort, sorted = "" }: {
    label: string;
    kind?: string;
    sort?: string;
    sorted?: string | undefined;
  },
): JSX.Element {
  const order = place.value.query.get("sort") ?? sorted;
  const isSorted = sort !== undefined && order.replace("-", "") === sort;
  const isDown = isSorted && order.startsWith("-");
  if (kind === "acts") {
    return (
      <th role="columnheader">
        <span class="sr">{label}</span>
      </th>
    );
  }
  return (
    <th
      class={kind}
      role="columnheader"
      {...(isSorted ? { "aria-sort": isDown ? "descending" : "ascending" } : {})}
    >
      {sort === undefined
        ? label
        : <a href={here({ sort: isDown ? sort : `-${sort}`, cursor: null })}>{label}</a>}
    </th>
  );
}
