/**
 * Charts over time as SVG: the server renders them too, the stylesheet sets their colours, and they stretch
 * with the page. Their data is also available as a table, for screen readers and others.
 */

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { now, zone } from "./clock.ts";
import { formatsOf, moment } from "./format.ts";

/** A line: its name, its values by step, and the name of its colour in the stylesheet. */
interface Line {
  readonly label: string;
  readonly values: readonly (number | null)[];
  readonly color: "ok" | "bad" | "warn" | "run" | "off";
}

interface ChartProps {
  /** The name of the chart. */
  readonly label: string;
  /** The beginning of each step, seconds since 1970. */
  readonly times: readonly number[];
  readonly lines: readonly Line[];
  readonly format: (value: number | null) => string;
  /** "bars": amounts, stacked, and the key shows their sums. "lines": the key shows the last values. */
  readonly kind: "bars" | "lines";
}

/** Possible distances between marks of the time axis, seconds. */
const STEPS = [60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 172_800];
const MARKS_MAX = 7;
/** Number of parts of the value axis. */
const PARTS = 4;

/** A chart with its key. While the pointer is over the chart, the key shows the values at that step. */
export function Chart(props: ChartProps): JSX.Element {
  const { label, times, lines, format, kind } = props;
  const pointed = useSignal<number | null>(null);
  const isTable = useSignal(false);
  const at = pointed.value !== null && pointed.value < times.length ? pointed.value : null;
  const told = lines.map(({ label, values }) => `${label} ${format(ofAll(values, kind))}`).join(", ");
  const point = (event: PointerEvent) => {
    const { left, width } = (event.currentTarget as Element).getBoundingClientRect();
    pointed.value = Math.max(
      0,
      Math.min(times.length - 1, Math.floor((event.clientX - left) / width * times.length)),
    );
  };
  return (
    <figure class="body">
      <ul class="keys">
        {lines.map(({ label, color, values }) => (
          <li key={label}>
            <i class={color} />
            {label} <b>{format(at === null ? ofAll(values, kind) : values[at] ?? null)}</b>
          </li>
        ))}
        <li>{at !== null && timeOf(times[at]!)}</li>
      </ul>
      <div
        class="chart"
        role="img"
        aria-label={`${label}: ${told}`}
        onPointerMove={point}
        onPointerLeave={() => pointed.value = null}
      >
        <Drawing {...props} at={at} />
      </div>
      <details onToggle={(event) => isTable.value = event.currentTarget.open}>
        <summary>As a table</summary>
        {isTable.value && <Figures {...props} />}
      </details>
    </figure>
  );
}

function Drawing({ times, lines, format, kind, at }: ChartProps & { at: number | null }): JSX.Element {
  const steps = times.length;
  const sums = times.map((_, step) => lines.reduce((sum, { values }) => sum + (values[step] ?? 0), 0));
  const highs = kind === "bars" ? sums : lines.flatMap(({ values }) => values.map((value) => value ?? 0));
  const top = roundUp(Math.max(0, ...highs));
  const below = times.map(() => 0);
  return (
    <svg aria-hidden="true">
      {Array.from({ length: PARTS + 1 }, (_, part) => {
        const y = `${100 - 100 * part / PARTS}%`;
        return (
          <>
            <line class="rule" x2="100%" y1={y} y2={y} />
            <text x="-8" y={y} dy="4" text-anchor="end">{format(top * part / PARTS)}</text>
          </>
        );
      })}
      {marks(times).map(([x, text], at) => (
        <text key={text} class={at % 2 === 1 ? "odd" : ""} x={`${x}%`} y="100%" dy="18" text-anchor="middle">
          {text}
        </text>
      ))}
      <svg viewBox={`0 0 ${Math.max(steps, 1)} 100`} preserveAspectRatio="none">
        {lines.map(({ label, values, color }) => {
          const height = (value: number) => (100 * value / top).toFixed(2);
          const d = kind === "lines"
            ? lineOf(values, (value) => (100 - 100 * value / top).toFixed(2))
            : values.map((value, step) => {
              if (!value) return "";
              below[step]! += value;
              return `M${step + 0.1} ${100 - Number(height(below[step]!))}h.8v${height(value)}h-.8z`;
            }).join("");
          return <path key={label} class={`${kind} ${color}`} d={d} />;
        })}
      </svg>
      {at !== null && (
        <line
          class="hair"
          x1={`${100 * (at + 0.5) / steps}%`}
          x2={`${100 * (at + 0.5) / steps}%`}
          y2="100%"
        />
      )}
    </svg>
  );
}

/** Returns the path of a line. A step without a value interrupts it; a single value becomes a dash. */
function lineOf(values: readonly (number | null)[], y: (value: number) => string): string {
  let d = "";
  values.forEach((value, step) => {
    if (value === null) return;
    const isLonely = (values[step - 1] ?? null) === null && (values[step + 1] ?? null) === null;
    d += isLonely
      ? `M${step + 0.2} ${y(value)}h.6`
      : `${step > 0 && values[step - 1] !== null ? "L" : "M"}${step + 0.5} ${y(value)}`;
  });
  return d;
}

function Figures({ label, times, lines, format }: ChartProps): JSX.Element {
  return (
    <div class="graph" tabIndex={0} role="region" aria-label={label}>
      <table>
        <thead>
          <tr>
            <th>Time</th>
            {lines.map((line) => <th class="num">{line.label}</th>)}
          </tr>
        </thead>
        <tbody>
          {times.map((time, at) => (
            <tr key={time}>
              <td>{timeOf(time)}</td>
              {lines.map(({ values }) => <td class="num">{format(values[at] ?? null)}</td>)}
            </tr>
          )).reverse()}
        </tbody>
      </table>
    </div>
  );
}

function ofAll(values: readonly (number | null)[], kind: ChartProps["kind"]): number | null {
  const known = values.filter((value) => value !== null);
  return kind === "lines" ? known.at(-1) ?? null : known.reduce((sum, value) => sum + value, 0);
}

function timeOf(seconds: number): string {
  return moment(seconds, { zone: zone.value, now: now.value });
}

/** Rounds up to a number that divides well into four parts. */
function roundUp(value: number): number {
  if (value <= 0) return 1;
  const ten = 10 ** Math.floor(Math.log10(value));
  return ten * [1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10].find((step) => step * ten >= value * 0.999)!;
}

/** Returns the marks of the time axis, at full minutes, hours or days: position in per cent, and text. */
function marks(times: readonly number[]): [x: number, text: string][] {
  const [first, last] = [times[0], times.at(-1)];
  if (first === undefined || last === undefined || first === last) return [];
  const length = (last - first) * times.length / (times.length - 1);
  const step = STEPS.find((one) => length / one <= MARKS_MAX) ??
    Math.ceil(length / MARKS_MAX / 86_400) * 86_400;
  const offset = zone.value === undefined ? new Date(first * 1000).getTimezoneOffset() * 60 : 0;
  const found: [number, string][] = [];
  for (let at = Math.ceil((first - offset) / step) * step + offset; at <= first + length; at += step) {
    const x = 100 * (at - first) / length;
    if (x > 2 && x < 98) found.push([x, markOf(at)]);
  }
  return found;
}

/** Returns the time of day, or the date at midnight. */
function markOf(seconds: number): string {
  const { minute, short } = formatsOf(zone.value);
  const date = new Date(seconds * 1000);
  const clock = minute.format(date);
  return clock === "00:00" ? short.format(date) : clock;
}
