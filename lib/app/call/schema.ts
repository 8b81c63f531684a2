/**
 * Schemas of a task's arguments, from any library with the Standard Schema interface (zod, valibot, arktype
 * and others).
 *
 * A single schema describes the task's only parameter, an object that may also be passed as kwargs: Python's
 * `task.delay(x=1)` and our `task.delay({ x: 1 })` are the same call. An array has one schema for each
 * positional parameter.
 *
 * Source: the Standard Schema specification, version 1; what celery 5.5 does for `pydantic=True`.
 */

import { UsageError } from "../../base/mod.ts";
import { ValidationError } from "../../wire/mod.ts";
import type { Parameters } from "./calling.ts";

/** A schema, with the members that are used here. `types` exists only for the compiler. */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

/** The result of a validation: a value, or the problems found. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

/** One problem, and where in the value it is. */
export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** The type of a task's option `schema`. */
export type TaskSchema = StandardSchema | readonly StandardSchema[];

type TypesOf<S> = S extends { readonly "~standard": { readonly types?: infer Types } } ? NonNullable<Types>
  : never;
type InputOf<S> = TypesOf<S> extends { readonly input: infer Input } ? Input : unknown;
type OutputOf<S> = TypesOf<S> extends { readonly output: infer Output } ? Output : unknown;

/** Makes trailing parameters optional that may be undefined. */
type Given<T extends readonly unknown[]> = T extends [...infer Head, infer Last]
  ? undefined extends Last ? [...Given<Head>, Last?] : T
  : [];

/** The arguments that a call passes. */
export type SchemaInputs<S> = S extends readonly unknown[]
  ? Given<{ -readonly [K in keyof S]: InputOf<S[K]> }>
  : [input: InputOf<S>];

/** The arguments that the function receives. */
export type SchemaOutputs<S> = S extends readonly unknown[] ? { -readonly [K in keyof S]: OutputOf<S[K]> }
  : [input: OutputOf<S>];

/** Returns the schema in a task's options, which were checked when the task was made. */
export function schemaOf(options: { readonly schema?: unknown }): TaskSchema | null {
  return options.schema as TaskSchema ?? null;
}

/** Throws UsageError for a value that is not a schema. */
export function checkSchema(name: string, schema: unknown): void {
  if (schema === undefined || schema === null) return;
  const isSchema = (one: unknown): boolean =>
    (typeof one === "object" || typeof one === "function") && one !== null &&
    typeof (one as Partial<StandardSchema>)["~standard"]?.validate === "function";
  if (Array.isArray(schema) ? schema.every(isSchema) : isSchema(schema)) return;
  throw new UsageError(
    `Option "schema" of task "${name}" must be a Standard Schema (of zod, valibot, arktype, ...), or an array of them`,
  );
}

/**
 * Returns the arguments as the schema transforms them, or a promise if a schema is asynchronous. `args` are
 * in the order of the parameters. Throws, or rejects with, ValidationError.
 */
export function validated(schema: TaskSchema, args: readonly unknown[]): unknown[] | Promise<unknown[]> {
  const isList = isSchemas(schema);
  const schemas = isList ? schema : [schema];
  // Python's call without arguments passes an object without members.
  const values = isList ? args : [args[0] ?? {}];
  const results = schemas.map((one, at) => one["~standard"].validate(values[at]));
  if (isList) results.push(...args.slice(schemas.length).map((value) => ({ value })));
  return results.some((result) => result instanceof Promise)
    ? Promise.all(results).then((all) => valuesOf(all, isList))
    : valuesOf(results as SchemaResult<unknown>[], isList);
}

/**
 * Returns the parameters of a function with a schema. Missing arguments are left to the schema. A single
 * schema takes an object, or kwargs.
 */
export function schemaParameters(parameters: Parameters, schema: TaskSchema): Parameters {
  if (isSchemas(schema)) return { ...parameters, required: 0, objectNeeds: null };
  const names = [parameters.names[0] ?? ""];
  return { names, required: 0, hasRest: false, takesObject: true, objectNeeds: null, leavesKwargs: false };
}

function isSchemas(schema: TaskSchema): schema is readonly StandardSchema[] {
  return Array.isArray(schema);
}

function valuesOf(results: readonly SchemaResult<unknown>[], isList: boolean): unknown[] {
  const wrong: string[] = [];
  const values = results.map((result, at) => {
    if (!result.issues) return result.value;
    for (const { message, path = [] } of result.issues) {
      const keys = path.map((key) => String(typeof key === "object" ? key.key : key));
      const where = (isList ? [at, ...keys] : keys).join(".");
      wrong.push(where === "" ? message : `${where}: ${message}`);
    }
    return undefined;
  });
  if (wrong.length > 0) throw new ValidationError(wrong.join("; "));
  return values;
}
