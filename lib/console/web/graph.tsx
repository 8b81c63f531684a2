/** Draws the tasks of one root as a graph: children, chains, chords. Each task links to its page. */

import type { JSX } from "preact";
import type { Shape } from "../api/v1/schema.ts";
import { span } from "./format.ts";
import { kindOf } from "./parts.tsx";
import { to } from "./place.ts";

type Node = Shape<"GraphNode">;

const [WIDE, HIGH, ACROSS, DOWN] = [164, 44, 44, 12];
const NAME_MAX = 20;

/** Draws tasks from left to right by their distance from the root. */
export function Graph({ graph: { nodes, edges, isCut } }: { graph: Shape<"Graph"> }): JSX.Element {
  const spots = layOut(nodes, edges);
  const right = Math.max(...[...spots.values()].map(([x]) => x)) + WIDE;
  const bottom = Math.max(...[...spots.values()].map(([, y]) => y)) + HIGH;
  return (
    <div class="graph" tabIndex={0} role="region" aria-label="Graph of tasks">
      <svg
        width={right + 4}
        height={bottom + 4}
        viewBox={`-2 -2 ${right + 4} ${bottom + 4}`}
        preserveAspectRatio="xMinYMin"
      >
        {edges.map(({ from, to, kind }) => {
          const [a, b] = [spots.get(from), spots.get(to)];
          if (!a || !b) return null;
          const [x1, y1, x2, y2] = [a[0] + WIDE, a[1] + HIGH / 2, b[0], b[1] + HIGH / 2];
          const bend = Math.max(24, (x2 - x1) / 2);
          return (
            <path
              class="edge"
              d={`M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`}
              {...(kind === "child" ? {} : { "stroke-dasharray": kind === "errback" ? "2 3" : "5 3" })}
            >
              <title>{kind}</title>
            </path>
          );
        })}
        {nodes.map((node) => <Box key={node.id} node={node} spot={spots.get(node.id)!} />)}
      </svg>
      {isCut && <p class="hint">This root has more tasks than are shown here.</p>}
    </div>
  );
}

function Box(
  { node: { id, name, state, runtime, isThis, isPlanned }, spot: [x, y] }: {
    node: Node;
    spot: readonly [number, number];
  },
): JSX.Element {
  const told = name ?? id;
  const shown = told.length > NAME_MAX ? `…${told.slice(1 - NAME_MAX)}` : told;
  return (
    <a href={to(["task", id])} class={isThis ? "here" : ""}>
      <title>{`${told} ${id}`}</title>
      <rect
        x={x}
        y={y}
        width={WIDE}
        height={HIGH}
        rx="6"
        {...(isPlanned ? { "stroke-dasharray": "4 3" } : {})}
      />
      <text x={x + 10} y={y + 18}>{shown}</text>
      <circle class={kindOf(state)} cx={x + 14} cy={y + 30} r="4" />
      <text class="sub" x={x + 23} y={y + 34}>
        {isPlanned ? "not sent yet" : `${state}${runtime === null ? "" : ` · ${span(runtime)}`}`}
      </text>
    </a>
  );
}

/** Places each task one column to the right of the rightmost task that leads to it. */
function layOut(
  nodes: readonly Node[],
  edges: Shape<"Graph">["edges"],
): Map<string, readonly [x: number, y: number]> {
  const depth = new Map(nodes.map(({ id }) => [id, 0]));
  // No path is longer than the number of tasks; the limit ends the loop if there is a cycle.
  for (let round = 0, moved = true; moved && round < nodes.length; round++) {
    moved = false;
    for (const { from, to } of edges) {
      const [a, b] = [depth.get(from), depth.get(to)];
      if (a === undefined || b === undefined || b > a || from === to) continue;
      depth.set(to, a + 1);
      moved = true;
    }
  }
  const rows: number[] = [];
  return new Map(nodes.map(({ id }) => {
    const column = Math.min(depth.get(id)!, nodes.length);
    const row = rows[column] = (rows[column] ?? -1) + 1;
    return [id, [column * (WIDE + ACROSS), row * (HIGH + DOWN)]];
  }));
}
