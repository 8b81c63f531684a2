/**
 * What one step of a blueprint is.
 *
 * Source: celery 5.2.6 celery/bootsteps.py Step, StartStopStep.
 */

/** A step that takes part in building its parent, and does nothing later. `P` is the parent's type. */
export abstract class Step<P> {
  /** Unique in its blueprint; what others name in `requires`. */
  abstract readonly name: string;
  /** Shown in logs and graphs. */
  get label(): string {
    return this.name;
  }
  /** Names of the steps that must be started before; those that the blueprint does not hold are left out. */
  readonly requires: readonly string[] = [];
  /** Depends on an option; marked so in graphs. */
  readonly conditional: boolean = false;
  /** Runs after all others; at most one in a blueprint. */
  readonly last: boolean = false;

  /** Whether this parent wants the step. */
  isIncluded(_parent: P): boolean {
    return true;
  }

  /** Builds what the step adds to its parent; called once, in boot order, for included steps only. */
  create(_parent: P): void {}

  /** What the step tells `inspect stats`; merged by key. */
  info(_parent: P): Record<string, unknown> {
    return {};
  }
}

/** A step that is also started and stopped. Each method may be overridden; the defaults do nothing. */
export abstract class StartStopStep<P> extends Step<P> {
  /** Starts the service; the next step starts when it has resolved. */
  start(_parent: P): Promise<void> | void {}
  /** Says that the end is near: takes no more work. Called for all steps before any is stopped. */
  close(_parent: P): Promise<void> | void {}
  /** Ends the service in good order. Safe twice and before `start`. */
  stop(_parent: P): Promise<void> | void {}
  /** Ends the service at once. */
  terminate(parent: P): Promise<void> | void {
    return this.stop(parent);
  }
}

/** How a blueprint is given its steps: one instance is made per parent. */
export type StepClass<P> = new () => Step<P>;
