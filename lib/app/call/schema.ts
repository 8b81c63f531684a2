/**
 * Schemas of a task's arguments: any library that has the Standard Schema interface (zod, valibot, arktype and others).
 *
 * One schema is that of the task's one parameter, an object, which kwargs make as well: Python's `task.delay(x=1)` and
 * our `task.delay({ x: 1 })` are the same call. An array has a schema for each positional parameter.
 *
 * Source: the Standard Schema specification, version 1; what celery 5.5 does for `pydantic=True`.
 */

import { UsageError } from "../../base/mod.ts";
import { ValidationError } from "../../wire/mod.ts";
import type { Parameters } from "./calling.ts";

/** A schema, as far as it is asked for anything here. `types` is there for the compiler alone. */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

/** What a schema makes of a value: another value, or what is wrong with it. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

/** One thing that is wrong, and where in the value. */
export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** What a task's option `schema` takes. */
export type TaskSchema = StandardSchema | readonly StandardSchema[];

type TypesOf<S> = S extends { readonly "~standard": { readonly types?: infer Types } } ? NonNullable<Types>
  : never;
type InputOf<S> = TypesOf<S> extends { readonly input: infer Input } ? Input : unknown;
type OutputOf<S> = TypesOf<S> extends { readonly output: infer Output } ? Output : unknown;

/** The last ones may be left out that may be undefined. */
type Given<T extends readonly unknown[]> = T extends [...infer Head, infer Last]
  ? undefined extends Last ? [...Given<Head>, Last?] : T
  : [];

/** The arguments that a call gives. */
export type SchemaInputs<S> = S extends readonly unknown[]
  ? Given<{ -readonly [K in keyof S]: InputOf<S[K]> }>
  : [input: InputOf<S>];

/** The arguments that the function gets. */
export type SchemaOutputs<S> = S extends readonly unknown[] ? { -readonly [K in keyof S]: OutputOf<S[K]> }
  : [input: OutputOf<S>];

/** The schema among a task's options, which has been checked when the task was made. */
export function schemaOf(options: { readonly schema?: unknown }): TaskSchema | null {
  return options.schema as TaskSchema ?? null;
}

/** Throws UsageError for what is not a schema. */
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
 * The arguments as the schema gives them back; a promise if it has to wait. `args` are in the order of the parameters.
 * Throws, or rejects with, ValidationError.
 */
export function validated(schema: TaskSchema, args: readonly unknown[]): unknown[] | Promise<unknown[]> {
  const isList = isSchemas(schema);
  const schemas = isList ? schema : [schema];
  // Python's call without any argument is one of an object without members.
  const values = isList ? args : [args[0] ?? {}];
  const results = schemas.map((one, at) => one["~standard"].validate(values[at]));
  if (isList) results.push(...args.slice(schemas.length).map((value) => ({ value })));
  return results.some((result) => result instanceof Promise)
    ? Promise.all(results).then((all) => valuesOf(all, isList))
    : valuesOf(results as SchemaResult<unknown>[], isList);
}

/** What a function with a schema takes: what is missing is the schema's to say. One takes an object, or kwargs. */
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
