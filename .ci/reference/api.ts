/** The page of the library: its declaration file, name by name, with its comments. */

import ts from "typescript";
import { makeDeclarations } from "../declarations.ts";
import { page } from "./markdown.ts";

/** The headings of the page and their names. Names that are in no group come under the last heading. */
const GROUPS: readonly (readonly [title: string, ...names: string[]])[] = [
  ["The App", "App", "Conf", "AppSignal", "SecurityOptions"],
  ["Tasks", "Task", "TaskOptions", "Context", "TaskRequest", "RequestInfo", "RetryOptions", "AnyTask"],
  ["Sending", "SendOptions", "SendTaskOptions", "SendManyItem"],
  ["Results", "AsyncResult", "GetOptions", "GroupResult", "ResultSet", "EagerResult"],
  [
    "Canvas",
    ...[
      "chain",
      "group",
      "chord",
      "chunks",
      "Chunks",
      "xmap",
      "xstarmap",
      "signature",
      "Signature",
      "SignatureOptions",
    ],
    "StampingVisitor",
  ],
  [
    "Queues and routes",
    "queue",
    "Queue",
    "QueueOptions",
    "exchange",
    "Exchange",
    "Route",
    "RouteFunction",
    "RouteOptions",
  ],
  ["Periodic tasks", "BeatEntry", "Schedule", "schedule", "crontab", "CrontabFields", "solar"],
  ["Signals", "signals", "Signal", "SignalEvent"],
  [
    "Remote control",
    ...[
      "Control",
      "Inspect",
      "RemoteOptions",
      "Replies",
      "SilentNodes",
      "CommandOptions",
      "RemoteCommandOptions",
    ],
    ...["RemoteHandler", "RemoteState", "RemoteAnswer", "RemoteTasks"],
  ],
  [
    "Events",
    ...[
      "AppEvents",
      "EventReceiver",
      "ReceivedEvent",
      "ReceiverOptions",
      "CaptureOptions",
      "ClusterState",
      "StateOptions",
    ],
    ...["TaskState", "WorkerState", "EventDispatcher"],
  ],
  ["A fleet of workers", "Cluster", "ClusterOptions", "ClusterEvents", "Node", "NodeOutcome"],
  ["A worker for tests", "TestWorker", "TestWorkerOptions"],
  ["Errors"],
];

/** Names that are left out: the settings have their own page. */
const ELSEWHERE = new Set(["Settings"]);

/** docs/reference/api.md. */
export async function apiPage(): Promise<string> {
  const source = ts.createSourceFile("lovage.d.ts", await makeDeclarations(), ts.ScriptTarget.ESNext, true);
  const exported = exportsOf(source);
  const taken = new Set<string>(ELSEWHERE);
  const sections = GROUPS.map(([title, ...given], n) => {
    const names = n < GROUPS.length - 1
      ? given
      : [...exported.keys()].filter((name) => !taken.has(name)).sort();
    const parts = names.map((name) => {
      taken.add(name);
      const nodes = exported.get(name);
      if (nodes === undefined) throw new Error(`The library has no "${name}"`);
      return entry(name, withBases(nodes, source), source);
    });
    return `## ${title}\n\n${parts.join("\n\n")}`;
  });
  return page(
    "The library",
    'The exports of `"lovage"`, as in `import { App } from "lovage"`. Names are Celery\'s in camelCase; durations are in seconds. ' +
      "The [settings](settings.md) have their own page. The npm package does not have `Cluster`, `Node` and `TestWorker`.",
    ...sections,
  );
}

/** Returns the declarations of each exported name. */
function exportsOf(source: ts.SourceFile): Map<string, ts.Statement[]> {
  const local = new Map<string, string[]>();
  for (const statement of source.statements) {
    if (
      !ts.isExportDeclaration(statement) || !statement.exportClause ||
      !ts.isNamedExports(statement.exportClause)
    ) continue;
    for (const { name, propertyName } of statement.exportClause.elements) {
      const inside = (propertyName ?? name).text;
      local.set(inside, [...local.get(inside) ?? [], name.text]);
    }
  }
  const found = new Map<string, ts.Statement[]>();
  for (const statement of source.statements) {
    for (const inside of namesOf(statement)) {
      for (const name of local.get(inside) ?? []) found.set(name, [...found.get(name) ?? [], statement]);
    }
  }
  return found;
}

/** Adds to declarations the interfaces that they extend, if those have no entry of their own. */
function withBases(nodes: readonly ts.Statement[], source: ts.SourceFile): ts.Statement[] {
  const bases = nodes.filter(ts.isInterfaceDeclaration).flatMap(({ heritageClauses = [] }) =>
    heritageClauses.flatMap(({ types }) => types.map(({ expression }) => expression.getText(source)))
  );
  const hidden = source.statements.filter((one) =>
    ts.isInterfaceDeclaration(one) && bases.includes(one.name.text) &&
    !GROUPS.some((group) => group.includes(one.name.text))
  );
  return hidden.length === 0 ? [...nodes] : [...nodes, ...withBases(hidden, source)];
}

function namesOf(statement: ts.Statement): string[] {
  if (ts.isVariableStatement(statement)) {
    return statement.declarationList.declarations.map(({ name }) => name.getText());
  }
  const { name } = statement as ts.DeclarationStatement;
  return name === undefined ? [] : [name.text];
}

/** Formats a name: heading, comment and declaration. Members keep their comments. */
function entry(name: string, nodes: readonly ts.Statement[], source: ts.SourceFile): string {
  const comment = nodes.map((node) => commentOf(node, source)).find(Boolean) ?? "";
  const text = nodes.map((node) =>
    node.getText(source).replaceAll(/\b(declare|export) /g, "").replaceAll(/^ +#private;\n/gm, "")
      .replaceAll(/\bTaskOptions\$1\b/g, "BaseTaskOptions").replaceAll(/(\w)\$\d\b/g, "$1")
  ).join("\n");
  return `### ${name}\n\n${comment}\n\n\`\`\`typescript\n${text}\n\`\`\``.replaceAll(/\n{3,}/g, "\n\n");
}

function commentOf(node: ts.Node, source: ts.SourceFile): string {
  const ranges = ts.getLeadingCommentRanges(source.text, node.pos) ?? [];
  const last = ranges.at(-1);
  if (last === undefined) return "";
  const text = source.text.slice(last.pos, last.end);
  if (!text.startsWith("/**")) return "";
  return text.slice(3, -2).replaceAll(/^\s*\* ?/gm, "").trim().replaceAll("{@link ", "{")
    .replaceAll(/^@example$/gm, "For example:\n").replaceAll(/^@throws \{(\w+)\}/gm, "Throws `$1`")
    .replaceAll(/^@throws/gm, "Throws");
}
