/** Typed readers for transport options (`broker_transport_options`, `result_backend_transport_options`). */

import { UsageError } from "../base/mod.ts";

/**
 * The options of one setting. Each reader throws UsageError, which names the option, if the value has another
 * type.
 */
export class OptionReader {
  readonly #setting: string;
  readonly #given: Readonly<Record<string, unknown>>;

  /** `setting` is the setting's name, for errors. */
  constructor(setting: string, given: Readonly<Record<string, unknown>>) {
    this.#setting = setting;
    this.#given = given;
  }

  /** Returns the value as given; undefined if there is none. */
  value(name: string): unknown {
    return this.#given[name] ?? undefined;
  }

  /** Returns a string, or `preset` if there is none. */
  text<T extends string | null>(name: string, preset: T): string | T {
    const value = this.value(name);
    if (value === undefined) return preset;
    if (typeof value !== "string") throw this.wrong(name, "a string");
    return value;
  }

  /** Returns a boolean, also given as 0 or 1; `preset` if there is none. */
  flag(name: string, preset: boolean): boolean {
    const value = this.value(name) ?? preset;
    if (typeof value === "boolean") return value;
    if (value === 0 || value === 1) return value === 1;
    throw this.wrong(name, "true or false");
  }

  /** Returns a non-negative number, or `preset` if there is none. */
  number<T extends number | null>(name: string, preset: T): number | T {
    const value = this.value(name);
    if (value === undefined) return preset;
    if (typeof value !== "number" || !(value >= 0)) throw this.wrong(name, "a number from 0");
    return value;
  }

  /** Reads seconds and returns milliseconds, or `presetMs` if there is none. */
  seconds<T extends number | null>(name: string, presetMs: T): number | T {
    const value = this.number(name, null);
    return value === null ? presetMs : value * 1000;
  }

  /** Returns the options within an option; empty if there are none. */
  options(name: string): OptionReader {
    const value = this.value(name) ?? {};
    if (typeof value !== "object" || Array.isArray(value)) throw this.wrong(name, "an object");
    return new OptionReader(`${this.#setting}["${name}"]`, value as Record<string, unknown>);
  }

  /** Returns the error of an option with a wrong value; `needed` says what it must be. */
  wrong(name: string, needed: string): UsageError {
    return new UsageError(`Cannot use ${this.#setting}["${name}"]: it must be ${needed}`);
  }
}
