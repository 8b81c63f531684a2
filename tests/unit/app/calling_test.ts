import assert from "node:assert/strict";
import { bindArguments, parametersOf, parseParameters } from "../../../lib/app/call/calling.ts";

// deno-lint-ignore no-explicit-any
type Any = any;

Deno.test("parseParameters reads every form a function has", () => {
  const cases: [(...args: Any[]) => unknown, string[]][] = [
    [(a, b) => [a, b], ["a", "b"]],
    [(a) => a, ["a"]],
    [async (a) => await a, ["a"]],
    [function named(a: Any, b = ",)", c = { d: [1, 2] }) {
      return [a, b, c];
    }, ["a", 'b = ",)"', "c = { d: [ 1, 2 ] }"]],
    [
      {
        async *method(a: Any, ...rest: Any[]) {
          yield [a, rest];
        },
      }.method,
      ["a", "...rest"],
    ],
    [() => 1, []],
    [(a = `x${[1, 2].map((n) => `${n},`)}y`, b = /[/,)]+/) => [a, b], []],
  ];
  for (const [fn, want] of cases.slice(0, -1)) {
    assert.deepEqual(parseParameters(String(fn))?.map((one) => one.replace(/\s+/g, " ")), want);
  }
  assert.equal(parseParameters(String(cases.at(-1)![0]))?.length, 2);
  assert.deepEqual(parseParameters("(a /* , b */, // c,\n d) => 1"), ["a", "d"]);
  assert.deepEqual(parseParameters("async x=>x"), ["x"]);
  assert.deepEqual(parseParameters("(příliš, $kůň) => 1"), ["příliš", "$kůň"]);
  assert.equal(parseParameters(String(Math.max)), null);
});

const add = (x: number, y: number) => x + y;
const bound = (
  fn: (...args: Any[]) => unknown,
  args: unknown[],
  kwargs: Record<string, unknown> = {},
  params?: string[],
) => bindArguments(parametersOf(fn, { params }), args, kwargs, "add");
const fails = (
  fn: (...args: Any[]) => unknown,
  args: unknown[],
  kwargs: Record<string, unknown> = {},
): string => {
  try {
    bound(fn, args, kwargs);
  } catch (error) {
    assert.equal((error as Error).constructor, TypeError);
    return (error as Error).message;
  }
  return "bound";
};

Deno.test("bindArguments gives args as they are where nothing is named", () => {
  const args = [1, 2];
  assert.equal(bound(add, args), args);
  assert.equal(bound((..._: unknown[]) => 0, args), args);
});

Deno.test("bindArguments matches kwargs to names; defaults and rest work", () => {
  assert.deepEqual(bound(add, [1], { y: 2 }), [1, 2]);
  assert.deepEqual(bound(add, [], { y: 2, x: 1 }), [1, 2]);
  assert.deepEqual(bound((a: Any, b = 10, c = "c") => [a, b, c], [1], { c: 3 }), [1, undefined, 3]);
  assert.deepEqual(bound((a: Any, ...rest: Any[]) => [a, rest], [], { a: 1 }), [1]);
  assert.deepEqual(bound((a: Any, { b, c }: Any) => [a, b, c], [1], { b: 2, c: 3 }), [1, { b: 2, c: 3 }]);
  assert.deepEqual(bound((a: Any, { b } = { b: 1 }) => [a, b], [1]), [1]);
  assert.deepEqual(bound((a: Any, { b } = { b: 1 }) => [a, b], [], { a: 1 }), [1]);
  assert.deepEqual(bound(({ b = 1, ...rest }: Any) => [b, rest], []), [{}]);
  assert.deepEqual(bound((a: Any, { b: { c } = { c: 2 } }: Any) => [a, c], [1]), [1, {}]);
  // An object that is there says for itself what it may lack.
  assert.deepEqual(bound(({ b, c }: Any) => [b, c], [], { b: 1 }), [{ b: 1 }]);
  assert.deepEqual(bound((...args: Any[]) => args, [1], { second: 2 }, ["first", "second"]), [1, 2]);
  assert.deepEqual(bound(Math.max, [1, 2, 3]), [1, 2, 3]);
});

Deno.test("bindArguments words its errors as Python does", () => {
  assert.equal(fails(add, [1]), "add() missing 1 required positional argument: 'y'");
  assert.equal(fails(add, []), "add() missing 2 required positional arguments: 'x' and 'y'");
  assert.equal(
    fails((a: Any, b: Any, c: Any) => [a, b, c], []),
    "add() missing 3 required positional arguments: 'a', 'b', and 'c'",
  );
  const options = (a: Any, { b, c = 1, d: e, "f-g": h, ...rest }: Any) => [a, b, c, e, h, rest];
  const needs = "add() missing 2 required keyword-only arguments: 'b' and 'd'";
  assert.equal(fails(options, [1]), needs);
  assert.equal(fails(options, [], { a: 1 }), needs);
  assert.equal(fails(options, []), "add() missing 1 required positional argument: 'a'");
  assert.equal(fails(({ b }: Any) => b, []), "add() missing 1 required keyword-only argument: 'b'");
  assert.equal(fails(add, [1, 2], { z: 3 }), "add() got an unexpected keyword argument 'z'");
  assert.equal(fails(add, [1, 2, 3]), "add() takes 2 positional arguments but 3 were given");
  assert.equal(fails(() => 0, [1]), "add() takes 0 positional arguments but 1 was given");
  assert.equal(
    fails((a: Any, b = 1) => [a, b], [1, 2, 3]),
    "add() takes from 1 to 2 positional arguments but 3 were given",
  );
  assert.equal(fails(add, [1, 2], { x: 3 }), "add() got multiple values for argument 'x'");
  assert.equal(fails(add, [], { "": 1, "__proto__x": 2 }), "add() got an unexpected keyword argument ''");
});

Deno.test("bindArguments refuses kwargs that a function with a rest parameter does not name", () => {
  const unexpected = "add() got an unexpected keyword argument 'dry_run'";
  assert.equal(fails((a: Any, ...rest: Any[]) => [a, rest], [1], { dry_run: true }), unexpected);
  assert.equal(fails((...args: Any[]) => args, [], { dry_run: true }), unexpected);
  assert.equal(fails(Math.max, [1], { dry_run: true }), unexpected);
});

Deno.test("a bound task with a rest parameter reads other kwargs from its request", () => {
  const parameters = parametersOf((_self: Any, a: Any, ...rest: Any[]) => [a, rest], { skip: 1 });
  assert.deepEqual(bindArguments(parameters, [1, 2], { dry_run: true }, "add"), [1, 2]);
  const named = parametersOf((_self: Any, ...rest: Any[]) => rest, { skip: 1 });
  assert.deepEqual(bindArguments(named, [], { dry_run: true }, "add"), []);
});

Deno.test("a bound context is no parameter", () => {
  const parameters = parametersOf((_self: Any, a: Any, b = 2) => [a, b], { skip: 1 });
  assert.deepEqual(parameters, {
    names: ["a", "b"],
    required: 1,
    hasRest: false,
    takesObject: false,
    objectNeeds: null,
    leavesKwargs: false,
  });
});
