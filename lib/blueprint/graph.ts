/**
 * The boot order of a blueprint's steps, and their graph in DOT.
 *
 * Source: celery 5.2.6 celery/utils/graph.py DependencyGraph, GraphFormatter; celery/bootsteps.py
 * StepFormatter.
 */

import { OperatingError, shownLine } from "../base/mod.ts";

/** The part of a step that the graph reads. */
export interface GraphNode {
  readonly name: string;
  readonly label: string;
  readonly requires: readonly string[];
  readonly conditional: boolean;
  readonly last: boolean;
}

/** The error of steps that require one another in a cycle. */
export class CycleError extends OperatingError {
  override name = "CycleError";
}

/**
 * Returns the steps in an order in which each follows the steps that it requires; a `last` step comes at the
 * end. If several orders are possible, the order of `nodes` decides, so that the boot order is the same at
 * every start (Celery's varies with Python's hashing). A required step that is not in `nodes` is ignored.
 * Throws CycleError.
 */
export function bootOrder<N extends GraphNode>(nodes: readonly N[]): N[] {
  const present = new Set(nodes.map((node) => node.name));
  const order: N[] = [];
  const done = new Set<string>();
  let waiting = nodes.filter((node) => !node.last);
  while (waiting.length > 0) {
    const next = waiting.find((node) => node.requires.every((name) => done.has(name) || !present.has(name)));
    if (!next) {
      throw new CycleError(
        `Cannot order steps: ${waiting.map((node) => node.name).join(", ")} need one another`,
      );
    }
    order.push(next);
    done.add(next.name);
    waiting = waiting.filter((node) => node !== next);
  }
  order.push(...nodes.filter((node) => node.last));
  return order;
}

const GRAPH = 'bgcolor="mintcream"';
const SHAPE = 'shape="box", arrowhead="vee", style="filled", fontname="HelveticaNeue"';
const NODE = `${SHAPE}, fillcolor="palegreen3", color="palegreen4"`;
const TERMINAL = `${SHAPE}, fillcolor="palegreen1", color="palegreen2"`;
const LAST = 'shape="parallelogram", arrowhead="vee", style="filled", fontname="HelveticaNeue", ' +
  'color="slategray4", fillcolor="slategray3"';
const EDGE = `${SHAPE}, color="darkseagreen4", arrowcolor="black", arrowsize="0.7"`;
const LAST_EDGE = `${SHAPE}, color="darkseagreen3", arrowcolor="black", arrowsize="0.7", arrowhead="none"`;

/**
 * Returns the steps of one or several blueprints as a DOT digraph for `graph bootsteps`. The `last` step of a
 * blueprint depends on all its other steps; the first step of a later blueprint depends on the `last` step of
 * the one before.
 */
export function graphToDot(blueprints: readonly (readonly GraphNode[])[]): string {
  const lines: string[] = [];
  const root = blueprints[0]?.find((node) => node.last);
  const drawn = new Set<GraphNode>();
  const draw = (node: GraphNode, style: string): void => {
    if (drawn.has(node)) return;
    drawn.add(node);
    lines.push(`    ${caption(node)} [${style}]`);
  };
  let before: GraphNode | null = null;
  for (const nodes of blueprints) {
    const byName = new Map(nodes.map((node) => [node.name, node]));
    nodes.forEach((node, index) => {
      const required = node.last
        ? nodes.filter((other) => other !== node)
        : node.requires.map((name) => byName.get(name)).filter((other) => other !== undefined);
      if (index === 0 && before) required.push(before);
      draw(node, node.last ? LAST : required.length === 0 ? TERMINAL : NODE);
      for (const other of required) {
        lines.push(`    ${caption(node)} -> ${caption(other)} [${node.last ? LAST_EDGE : EDGE}]`);
      }
    });
    before = nodes.find((node) => node.last) ?? before;
  }
  const head = `digraph dependencies {\n    graph [${GRAPH}${root ? `, root=${caption(root)}` : ""}]`;
  return `${head}\n${lines.join("\n")}\n}\n`;
}

function caption(node: GraphNode): string {
  return dotQuoted(`${node.last ? "⧉" : node.conditional ? "∘" : ""}${node.label}`);
}

/** Returns any text as a quoted identifier or value of DOT. */
export function dotQuoted(text: string): string {
  return `"${shownLine(text).replace(/["\\]/g, "\\$&")}"`;
}
