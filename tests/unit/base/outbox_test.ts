import assert from "node:assert/strict";
import { Outbox, Ring, SeqMap } from "../../../lib/base/mod.ts";

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

Deno.test("SeqMap keeps what stays beside what comes and goes", () => {
  const map = new SeqMap<string>();
  const mirror = new Map<number, string>();
  const set = (key: number, value: string) => {
    map.set(key, value);
    mirror.set(key, value);
  };
  for (let key = 0; key < 20_000; key++) {
    set(key, `${key}`);
    // One in a thousand stays; of the others a hundred are there at a time.
    const gone = key - 100;
    if (gone >= 0 && gone % 1000 !== 0) assert.equal(map.delete(gone), mirror.delete(gone));
  }
  set(1000, "again");
  assert.equal(map.size, mirror.size);
  assert.deepEqual(map.keys(), [...mirror.keys()].sort((a, b) => a - b));
  assert.deepEqual(map.values(), map.keys().map((key) => mirror.get(key)));
  assert.deepEqual([map.get(1000), map.get(1001), map.has(3000), map.has(3001)], [
    "again",
    undefined,
    true,
    false,
  ]);
  assert.deepEqual([map.delete(3000), map.delete(3000), map.has(3000)], [true, false, false]);
  map.clear();
  assert.deepEqual([map.size, map.has(1000), map.keys()], [0, false, []]);
});
