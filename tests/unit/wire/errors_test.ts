import assert from "node:assert/strict";
import fc from "fast-check";
import { ConnectionLost } from "../../../lib/base/mod.ts";
import * as wire from "../../../lib/wire/mod.ts";

const { exceptionRepr, fromWireException, toWireException } = wire;

class ValueError extends Error {
  args: unknown[];
  constructor(...args: unknown[]) {
    super(String(args[0] ?? ""));
    this.args = args;
  }
}
class KeyError extends Error {}
class OutOfStock extends Error {
  static module = "shop.errors";
}
class Unnamed extends Error {}

Deno.test("a thrown error's name, arguments and module are what the contract says", () => {
  const cases: [unknown, wire.WireException][] = [
    [new ValueError("boom", 2), { excType: "ValueError", excModule: "builtins", args: ["boom", 2] }],
    [new KeyError("k"), { excType: "KeyError", excModule: "builtins", args: ["k"] }],
    [new TypeError("t"), { excType: "TypeError", excModule: "builtins", args: ["t"] }],
    [new OutOfStock("o"), { excType: "OutOfStock", excModule: "shop.errors", args: ["o"] }],
    [new Unnamed("u"), { excType: "Unnamed", excModule: "shop.cart", args: ["u"] }],
    [new Error("e"), { excType: "Error", excModule: "shop.cart", args: ["e"] }],
    [new RangeError("r"), { excType: "RangeError", excModule: "shop.cart", args: ["r"] }],
    [new DOMException("a", "AbortError"), { excType: "AbortError", excModule: "shop.cart", args: ["a"] }],
    [Object.assign(new Error("n"), { name: "ValueError" }), {
      excType: "ValueError",
      excModule: "builtins",
      args: ["n"],
    }],
    ["text", { excType: "Error", excModule: "shop.cart", args: ["text"] }],
    [undefined, { excType: "Error", excModule: "shop.cart", args: ["undefined"] }],
    [Object.create(null), { excType: "Error", excModule: "shop.cart", args: ["[object Object]"] }],
    [new ConnectionLost("gone"), { excType: "ConnectionLost", excModule: "shop.cart", args: ["gone"] }],
  ];
  for (const [error, expected] of cases) assert.deepEqual(toWireException(error, "shop.cart.buy"), expected);
  assert.equal(toWireException(new Error("x"), "buy").excModule, null);
});

Deno.test("Celery's exceptions travel under Celery's names, modules and arguments", () => {
  const cases: [Error, string, string, unknown[]][] = [
    [new wire.TaskRevokedError("terminated"), "celery.exceptions", "TaskRevokedError", ["terminated"]],
    [new wire.TimeLimitExceeded(1), "billiard.exceptions", "TimeLimitExceeded", [1]],
    [new wire.SoftTimeLimitExceeded(), "billiard.exceptions", "SoftTimeLimitExceeded", []],
    [new wire.WorkerLostError("w"), "billiard.exceptions", "WorkerLostError", ["w"]],
    [new wire.NotRegistered("t.x"), "celery.exceptions", "NotRegistered", ["t.x"]],
    [new wire.MaxRetriesExceededError("m"), "celery.exceptions", "MaxRetriesExceededError", ["m"]],
    [new wire.ChordError("c"), "celery.exceptions", "ChordError", ["c"]],
    [new wire.Terminated("15"), "billiard.exceptions", "Terminated", ["15"]],
    [new wire.TimeoutError("t"), "celery.exceptions", "TimeoutError", ["t"]],
    [new wire.Ignore(), "celery.exceptions", "Ignore", []],
    [new wire.Reject("not wanted", { requeue: true }), "celery.exceptions", "Reject", ["not wanted", true]],
    [new wire.DecodeError("d"), "kombu.exceptions", "DecodeError", ["d"]],
    [new wire.ContentDisallowed("d"), "kombu.exceptions", "ContentDisallowed", ["d"]],
  ];
  for (const [error, excModule, excType, args] of cases) {
    const sent = toWireException(error, "shop.buy");
    assert.deepEqual(sent, { excType, excModule, args });
    const back = fromWireException(sent, "tb");
    assert.equal(back.constructor, error.constructor);
    assert.equal(back.message, error.message);
    assert.equal((back as Error & { traceback: unknown }).traceback, "tb");
    assert.deepEqual(toWireException(back, "other.task"), sent);
  }
});

Deno.test("texts of Celery's exceptions are Celery's", () => {
  assert.equal(new wire.Reject("not wanted").message, "reject requeue=False: not wanted");
  assert.equal(
    new wire.Retry(null, { exc: new KeyError("again"), when: 0.2 }).message,
    "Retry in 0.2s: KeyError('again')",
  );
  assert.equal(new wire.Retry(null, { when: 5 }).message, "Retry in 5s");
  assert.equal(
    new wire.Retry(null, { when: "2037-03-04T05:06:07+00:00" }).message,
    "Retry at 2037-03-04T05:06:07+00:00",
  );
  assert.equal(new wire.Retry("own text", { when: 5 }).message, "own text");
  assert.equal(new wire.SoftTimeLimitExceeded().message, "SoftTimeLimitExceeded()");
  assert.equal(exceptionRepr(toWireException(new wire.TimeLimitExceeded(1), "t")), "TimeLimitExceeded(1)");
  assert.equal(exceptionRepr(toWireException(new wire.NotRegistered("x"), "t")), "NotRegistered('x')");
});

Deno.test("a remote exception comes as the class that JavaScript has, else under its own name", () => {
  const type = fromWireException({ excType: "TypeError", excModule: "builtins", args: ["no"] });
  assert.ok(type instanceof TypeError);
  assert.deepEqual([type.message, (type as Error & { args: unknown }).args], ["no", ["no"]]);
  assert.ok(
    fromWireException({ excType: "RangeError", excModule: "shop", args: ["r"] }) instanceof RangeError,
  );
  const value = fromWireException(
    { excType: "ValueError", excModule: "builtins", args: ["boom"] },
    "Traceback …",
  );
  assert.ok(value instanceof wire.RemoteError);
  assert.deepEqual([value.name, value.message, value.module, value.args, value.traceback], [
    "ValueError",
    "boom",
    "builtins",
    ["boom"],
    "Traceback …",
  ]);
  assert.equal(String(value), "ValueError: boom");
  // A builtin of Python's never turns into a namesake of ours, nor a namesake elsewhere into Celery's.
  assert.ok(
    fromWireException({ excType: "TimeoutError", excModule: "builtins", args: [] }) instanceof
      wire.RemoteError,
  );
  assert.ok(
    fromWireException({ excType: "Ignore", excModule: "shop", args: [] }) instanceof wire.RemoteError,
  );
});

Deno.test("messages and reprs are Python's", () => {
  const make = (excType: string, ...args: unknown[]): wire.WireException => ({
    excType,
    excModule: "builtins",
    args,
  });
  assert.equal(fromWireException(make("KeyError", "k")).message, "'k'");
  assert.equal(fromWireException(make("OSError", 2, "gone")).message, "(2, 'gone')");
  assert.equal(fromWireException(make("ValueError")).message, "");
  assert.equal(fromWireException(make("ValueError", null)).message, "None");
  assert.equal(exceptionRepr(make("ValueError", "it's")), `ValueError("it's")`);
  assert.equal(exceptionRepr(make("ValueError")), "ValueError()");
  assert.equal(exceptionRepr(make("OSError", 2, [1])), "OSError(2, [1])");
  assert.equal(exceptionRepr(make("Outer.Inner", 1)), "Inner(1)");
});

Deno.test("any exception of the wire comes back as it was", () => {
  const names = fc.constantFrom(
    "ValueError",
    "TypeError",
    "Ignore",
    "Retry",
    "Reject",
    "TimeLimitExceeded",
    "RangeError",
    "Error",
    "X.Y",
    "",
  );
  const modules = fc.constantFrom("builtins", "celery.exceptions", "billiard.exceptions", "shop", null);
  fc.assert(
    fc.property(
      names,
      modules,
      fc.array(fc.jsonValue({ maxDepth: 1 }), { maxLength: 3 }),
      (excType, excModule, args) => {
        const error = fromWireException({ excType, excModule, args });
        assert.ok(error instanceof Error);
        assert.deepEqual(toWireException(error, "some.task"), { excType, excModule, args });
      },
    ),
    { numRuns: 1000 },
  );
});

Deno.test("an error that throws when it is read is told as far as it can be read", () => {
  const throwing = (property: string, error: Error = new ValueError("m")): Error =>
    Object.defineProperty(error, property, {
      get(): never {
        throw new Error("no");
      },
    });
  const revoked = Proxy.revocable(new Error("m"), {});
  revoked.revoke();
  const unreadable = "an error that cannot be read";
  const cases: [unknown, string | null, string, unknown[]][] = [
    [throwing("message", new TypeError("m")), "builtins", "TypeError", [unreadable]],
    [throwing("args"), "builtins", "ValueError", [unreadable]],
    [throwing("constructor"), "t", "Error", ["m"]],
    [throwing("module", new wire.RemoteError({ excType: "E", excModule: "m", args: [] })), "t", "E", []],
    [revoked.proxy, "t", "Error", ["an object that cannot be read"]],
    [undefined, "t", "Error", ["undefined"]],
    [Symbol("s"), "t", "Error", ["Symbol(s)"]],
    [Object.create(null), "t", "Error", ["[object Object]"]],
    [Object.assign(new Error(), { message: Object.create(null) }), "t", "Error", [unreadable]],
    [Object.assign(new Error("m"), { name: Symbol("s") }), "t", "Error", ["m"]],
  ];
  for (const [error, excModule, excType, args] of cases) {
    const exception = toWireException(error, "t.x");
    assert.deepEqual(exception, { excType, excModule, args });
    assert.equal(typeof exceptionRepr(exception), "string");
  }
});

Deno.test("errors with the names of Python's builtin exceptions are of module builtins, others of the task's", () => {
  const moduleOf = (name: string) =>
    toWireException(Object.assign(new Error("x"), { name }), "t.x").excModule;
  for (const name of ["ValueError", "KeyError", "TypeError", "UnicodeDecodeError", "ExceptionGroup"]) {
    assert.equal(moduleOf(name), "builtins");
  }
  for (const name of ["Error", "RangeError", "URIError", "toString", ""]) assert.equal(moduleOf(name), "t");
});
