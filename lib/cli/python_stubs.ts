/**
 * The App's tasks for Python: a module for calling them from Celery, and a stub (.pyi) with their parameters.
 *
 * The module registers no tasks, so a Python worker that imports it does not run them. Types of parameters
 * are not known at run time, so a parameter has its name and the type `Any`.
 */

import type { AnyTask, App } from "../app/mod.ts";
import { toJson } from "../wire/mod.ts";

const KEYWORDS = new Set(
  ("False None True and as assert async await break class continue def del elif else except finally for from global " +
    "if import in is lambda nonlocal not or pass raise return try while with yield self").split(" "),
);

/** Names that the module and its stub use themselves. */
const OWN_NAMES = ["_signature", "_Task", "Any", "AsyncResult", "Signature"];

/** Returns the text of the module. */
export function pythonModule(app: App): string {
  const lines = named(app).map(([variable, { name }]) => `${variable} = _Task(${toJson(name)})\n`);
  return `# Tasks of the app ${toJson(app.name)}. Written by "lovage types --python"; do not edit.
from celery import signature as _signature


class _Task:
    def __init__(self, name):
        self.name = name

    def s(self, *args, **kwargs):
        return _signature(self.name, args=args, kwargs=kwargs)

    def si(self, *args, **kwargs):
        return _signature(self.name, args=args, kwargs=kwargs, immutable=True)

    def delay(self, *args, **kwargs):
        return self.s(*args, **kwargs).apply_async()

    def apply_async(self, args=None, kwargs=None, **options):
        return self.s(*(args or ()), **(kwargs or {})).apply_async(**options)


${lines.join("")}`;
}

/** Returns the text of the stub. */
export function pythonStub(app: App): string {
  const classes = named(app).map(([variable, task]) => {
    const parameters = ["self", ...parametersOf(task)].join(", ");
    return `class _Task_${variable}:
    name: str
    def s(self, *args: Any, **kwargs: Any) -> Signature: ...
    def si(${parameters}) -> Signature: ...
    def delay(${parameters}) -> AsyncResult: ...
    def apply_async(self, args: Any = ..., kwargs: Any = ..., **options: Any) -> AsyncResult: ...

${variable}: _Task_${variable}
`;
  });
  return `# Tasks of the app ${toJson(app.name)}. Written by "lovage types --python"; do not edit.
from typing import Any
from celery.canvas import Signature
from celery.result import AsyncResult

${classes.join("\n")}`;
}

/**
 * Returns the App's tasks, each with a Python identifier: the last part of its name, or all of it if not
 * unique.
 */
function named(app: App): [variable: string, task: AnyTask][] {
  const tasks = app.tasks.names().map((name) => app.tasks.need(name));
  const lasts = tasks.map(({ name }) => identifier(name.slice(name.lastIndexOf(".") + 1)));
  const used = new Set<string>(OWN_NAMES);
  return tasks.map((task, at) => {
    const isShared = lasts.filter((last) => last === lasts[at]).length > 1;
    let variable = isShared ? identifier(task.name) : lasts[at]!;
    while (used.has(variable)) variable += "_";
    used.add(variable);
    return [variable, task];
  });
}

function parametersOf({ parameters }: AnyTask): string[] {
  const { names, required, hasRest, takesObject } = parameters;
  const plain = takesObject ? names.slice(0, -1) : names;
  const texts = plain.map((name, at) => {
    const known = name === "" || !/^[\p{ID_Start}_][\p{ID_Continue}]*$/u.test(name) || KEYWORDS.has(name);
    return `${known ? `_${at}` : name}: Any${at < required ? "" : " = ..."}`;
  });
  if (hasRest) texts.push("*args: Any");
  if (takesObject) texts.push("**kwargs: Any");
  return texts;
}

function identifier(text: string): string {
  const plain = text.replaceAll(/[^\p{ID_Continue}]/gu, "_").replace(/^(?![\p{ID_Start}_])/u, "_");
  return KEYWORDS.has(plain) ? `${plain}_` : plain;
}
