/**
 * The steps of a blueprint.
 *
 * Source: celery 5.2.6 celery/bootsteps.py Step, StartStopStep.
 */

/** A step that helps to build its parent and is not started or stopped. `P` is the parent's type. */
export abstract class Step<P> {
  /** Unique in its blueprint. Other steps name it in `requires`. */
  abstract readonly name: string;
  /** The name shown in logs and graphs. */
  get label(): string {
    return this.name;
  }
  /**
   * Names of the steps that must start before this one. Names that the blueprint does not have are ignored.
   */
  readonly requires: readonly string[] = [];
  /** True if an option decides whether the step is included; graphs mark such steps. */
  readonly conditional: boolean = false;
  /** True if the step comes after all others. A blueprint has at most one such step. */
  readonly last: boolean = false;

  /** Returns true if this parent includes the step. */
  isIncluded(_parent: P): boolean {
    return true;
  }

  /** Builds the step's part of the parent. Called once, in boot order, for included steps only. */
  create(_parent: P): void {}

  /** Returns what the step reports for `inspect stats`; the results of all steps are merged by key. */
  info(_parent: P): Record<string, unknown> {
    return {};
  }
}

/**
 * A step that is also started and stopped. Each method may be overridden. By default `terminate` calls
 * `stop`, and the others do nothing. `shutdown` and `register` are only in the services that need them.
 */
export abstract class StartStopStep<P> extends Step<P> {
  /**
   * Starts the service. The next step starts when this resolves. A rejection ends the start of the blueprint.
   */
  start(_parent: P): Promise<void> | void {}
  /** Makes the service accept no more work. Called for all steps before any is stopped. */
  close(_parent: P): Promise<void> | void {}
  /** Stops the service in good order. Must be idempotent and safe before `start`. */
  stop(_parent: P): Promise<void> | void {}
  /** Stops the service at once. */
  terminate(parent: P): Promise<void> | void {
    return this.stop(parent);
  }
  /** Closes what the service kept open when it stopped, such as a connection. */
  shutdown?(parent: P): Promise<void> | void;
  /** Joins the event loop, which is about to run. */
  register?(parent: P): Promise<void> | void;
}

/** The class of a step. One instance is made per parent. */
export type StepClass<P> = new () => Step<P>;
