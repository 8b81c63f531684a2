/** Transport options (`broker_transport_options`, `result_backend_transport_options`), read one by one. */

import { UsageError } from "../base/mod.ts";

/** One setting's options. Each reader throws UsageError that names the option if its value is of another kind. */
export class OptionReader {
  readonly #setting: string;
  readonly #given: Readonly<Record<string, unknown>>;

  /** `setting` is the setting's name, for errors. */
  constructor(setting: string, given: Readonly<Record<string, unknown>>) {
    this.#setting = setting;
    this.#given = given;
  }

  /** The value as given; undefined if there is none. */
  value(name: string): unknown {
    return this.#given[name] ?? undefined;
  }

  /** A string, or `preset` if there is none. */
  text<T extends string | null>(name: string, preset: T): string | T {
    const value = this.value(name);
    if (value === undefined) return preset;
    if (typeof value !== "string") throw this.wrong(name, "a string");
    return value;
  }

  /** A boolean, also as 0 or 1. */
  flag(name: string, preset: boolean): boolean {
    const value = this.value(name) ?? preset;
    if (typeof value === "boolean") return value;
    if (value === 0 || value === 1) return value === 1;
    throw this.wrong(name, "true or false");
  }

  /** A number that is not negative. */
  number<T extends number | null>(name: string, preset: T): number | T {
    const value = this.value(name);
    if (value === undefined) return preset;
    if (typeof value !== "number" || !(value >= 0)) throw this.wrong(name, "a number from 0");
    return value;
  }

  /** Seconds as given, milliseconds as returned. */
  seconds<T extends number | null>(name: string, presetMs: T): number | T {
    const value = this.number(name, null);
    return value === null ? presetMs : value * 1000;
  }

  /** Options within an option; empty if there are none. */
  options(name: string): OptionReader {
    const value = this.value(name) ?? {};
    if (typeof value !== "object" || Array.isArray(value)) throw this.wrong(name, "an object");
    return new OptionReader(`${this.#setting}["${name}"]`, value as Record<string, unknown>);
  }

  /** The error of an option that must be something else. */
  wrong(name: string, needed: string): UsageError {
    return new UsageError(`Cannot use ${this.#setting}["${name}"]: it must be ${needed}`);
  }
}
