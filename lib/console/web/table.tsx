/** Tables: columns as data, the order in the address, rows as cards where the screen is narrow. */

import { type Signal, signal } from "@preact/signals";
import type { ComponentChild, ComponentChildren, JSX } from "preact";
import { here, place } from "./place.ts";

/** One column. */
export interface Column<Row> {
  readonly label: string;
  readonly cell: (row: Row) => ComponentChild;
  /** "num": to the right. "key": what a row is called. "acts": buttons. */
  readonly kind?: "num" | "key" | "acts";
  /** The name by which the API sorts. */
  readonly sort?: string;
}

/** The ids of the rows that are chosen on this page. */
export const chosen: Signal<ReadonlySet<string>> = signal(new Set());

function choose(ids: readonly string[], on: boolean): void {
  const next = new Set(chosen.value);
  for (const id of ids) on ? next.add(id) : next.delete(id);
  chosen.value = next;
}

/** A table, or what stands where there is none. `tick`: a box to choose rows by. */
export function Table<Row>(
  { label, rows, columns, id, children, tick = false, sorted }: {
    label: string;
    rows: readonly Row[];
    columns: readonly (Column<Row> | false)[];
    id: (row: Row) => string;
    /** What stands there if there is no row. */
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
                <Tick label="Choose all on this page" on={all} turn={(on) => choose(ids, on)} />
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
                    label={`Choose ${ids[at]}`}
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

/** A column's head; a link that sorts by it, where the API can. */
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
