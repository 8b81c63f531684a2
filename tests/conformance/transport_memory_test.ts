import { connect } from "../../lib/transport/mod.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { transportConformance } from "./transport.ts";
import { CONNECT_OPTIONS } from "../support/connect_options.ts";

let count = 0;

transportConformance("memory", () => {
  const world = realTestWorld();
  const url = `memory://conformance-${count++}`;
  return Promise.resolve({
    connect: () => connect(world, url, CONNECT_OPTIONS),
    abandon: null,
    putRaw: null,
    isZeroFirst: true,
    canPark: true,
    countsAttempts: false,
    knowsListeners: true,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
}, ["attempts", "killing", "raw messages"]);
