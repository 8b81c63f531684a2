import assert from "node:assert/strict";
import { Outbox, Ring } from "../../../lib/base/mod.ts";

const utf8 = new TextDecoder();

Deno.test("Outbox keeps the bytes of a view while new ones are appended, and reuses its two buffers", () => {
  const outbox = new Outbox();
  outbox.text("first");
  const first = outbox.take();
  outbox.text("second");
  assert.equal(utf8.decode(first), "first");
  assert.throws(() => outbox.take(), /one view/);
  outbox.release(first);
  const second = outbox.take();
  assert.equal(utf8.decode(second), "second");
  outbox.release(second);
  outbox.decimal(0);
  outbox.decimal(1024);
  outbox.byte(46);
  const third = outbox.take();
  assert.equal(utf8.decode(third), "01024.");
  assert.equal(third.buffer, first.buffer);
});

Deno.test("Outbox grows for texts of any length, three bytes a unit included", () => {
  for (const unit of ["a", "é", "漢", "😀"]) {
    for (const count of [0, 1, 39, 40, 41, 5000, 16 * 1024, 50_000]) {
      const outbox = new Outbox();
      outbox.text("head");
      const text = unit.repeat(count);
      assert.equal(outbox.text(text), new TextEncoder().encode(text).length);
      assert.equal(utf8.decode(outbox.take()), "head" + text);
    }
  }
});

Deno.test("Ring is first in, first out, across growth and wrapping", () => {
  const ring = new Ring<number>();
  let next = 0;
  let taken = 0;
  for (let round = 0; round < 50; round++) {
    for (let i = 0; i < round; i++) ring.push(next++);
    assert.equal(ring.peekLast(), round === 0 ? undefined : next - 1);
    for (let i = 0; i < round - (round % 3); i++) assert.equal(ring.shift(), taken++);
  }
  while (ring.length > 0) assert.equal(ring.shift(), taken++);
  assert.equal(taken, next);
  assert.equal(ring.shift(), undefined);
  assert.equal(ring.peek(), undefined);
});

Deno.test("Ring takes back at its head and gives from its tail, also where the buffer's end is between", () => {
  const ring = new Ring<number>();
  for (let n = 0; n < 40; n++) ring.push(n);
  for (let n = 0; n < 30; n++) assert.equal(ring.shift(), n);
  for (let n = 29; n >= 5; n--) ring.unshift(n);
  ring.push(40);
  assert.deepEqual(ring.toArray(), Array.from({ length: 36 }, (_, n) => n + 5));
  assert.deepEqual([ring.pop(), ring.pop(), ring.shift(), ring.length], [40, 39, 5, 33]);
  ring.clear();
  assert.deepEqual([ring.pop(), ring.length, ring.toArray()], [undefined, 0, []]);
  ring.unshift(7);
  assert.equal(ring.pop(), 7);
});
