import assert from "node:assert/strict";
import { ParkedList } from "../../../../lib/worker/lane/parked.ts";
import type { Request } from "../../../../lib/worker/lane/request.ts";
import { fakeWorld } from "../../../support/fake_world.ts";

function request(n: number, body = ""): Request {
  return { id: `r${n}`, etaWallMs: 1e15 - n, delivery: { message: { body } } } as unknown as Request;
}

Deno.test("ParkedList: keeps the newest, soonest first; of a burst only the first; no large ones", async () => {
  const { clock } = fakeWorld();
  const list = new ParkedList(clock);
  const ids = () => list.list(clock.wallMs()).map(({ id }) => id);
  list.add(request(0, "x".repeat(20_000)));
  for (let n = 1; n <= 5000; n++) list.add(request(n));
  assert.deepEqual([ids().length, ids()[0]], [199, "r199"]);
  for (let second = 1; second <= 10; second++) {
    await clock.advance(1000);
    for (let n = 1; n <= 150; n++) list.add(request(second * 10_000 + n));
  }
  assert.deepEqual([ids().length, ids()[0], ids().at(-1)], [1000, "r100150", "r40051"]);
  list.discard("r100150");
  assert.equal(ids()[0], "r100149");
});
