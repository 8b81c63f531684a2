/** The base of chains and groups: a list of calls. Source: celery 5.2.6 canvas.py _chain, group. */

import type { SignatureLike, SignatureOptions } from "./options.ts";
import type { CanvasResult, CanvasSender } from "./sender.ts";
import { Signature, toSignature } from "./signature.ts";

/** A call of Celery's builtin task that represents a list of calls. */
export abstract class Members<R, Sent extends CanvasResult> extends Signature<R, Sent> {
  /** `kind` is the `subtask_type`, and names the builtin task. */
  constructor(
    kind: "chain" | "group",
    tasks: readonly SignatureLike[],
    options: SignatureOptions | null,
    app: CanvasSender | null,
  ) {
    super(`celery.${kind}`, {
      kwargs: { tasks: tasks.map((task) => toSignature(task, app)) },
      options,
      subtaskType: kind,
      app: app ?? appOf(tasks),
    });
  }

  /** The calls, in order. */
  get tasks(): Signature[] {
    return this.kwargs["tasks"] as Signature[];
  }
  set tasks(tasks: Signature[]) {
    this.kwargs["tasks"] = tasks;
  }

  override get sender(): CanvasSender {
    return this.app ?? appOf(this.tasks) ?? super.sender;
  }

  protected override cloneKwargs(kwargs: Record<string, unknown>): Record<string, unknown> {
    return { ...kwargs, tasks: (kwargs["tasks"] as Signature[]).map((task) => task.clone()) };
  }

  protected override kwargsToWire(): Record<string, unknown> {
    return { ...this.kwargs, tasks: this.tasks.map((task) => task.toJSON()) };
  }
}

/** Returns the app of the first task that has one; null if none has. */
export function appOf(tasks: readonly SignatureLike[]): CanvasSender | null {
  for (const task of tasks) if (task instanceof Signature && task.app) return task.app;
  return null;
}
