/** The conformance suite over every pool. */

import { SlotPool } from "../../lib/pool/slot_pool.ts";
import { processLinks } from "../../lib/pool/link/process.ts";
import { hostedLinks } from "../../lib/pool/link/host.ts";
import { SoloPool } from "../../lib/pool/mod.ts";
import { testPool } from "./pool.ts";
import { openPlainRunner } from "../support/plain_runner.ts";
import { plainWorld } from "../support/pools.ts";

testPool({
  name: "solo",
  make: (world, options, events) => new SoloPool(world, options, events, openPlainRunner),
  endsBusyLoops: false,
  hasSlots: false,
  hasProcesses: false,
  isConcurrent: false,
});

testPool({
  name: "processes",
  make: (world, options, events) => {
    const kind = { name: "processes", processPrefix: "ForkPoolWorker", isConcurrent: false } as const;
    return new SlotPool(world, kind, processLinks(plainWorld(world)), options, events);
  },
  endsBusyLoops: true,
  hasSlots: true,
  hasProcesses: true,
  isConcurrent: false,
});

for (const [name, isConcurrent] of [["threads", false], ["async", true]] as const) {
  testPool({
    name,
    make: (world, options, events) => {
      const plain = plainWorld(world);
      const links = hostedLinks(plain, processLinks(plain));
      return new SlotPool(world, { name, processPrefix: null, isConcurrent }, links, options, events);
    },
    endsBusyLoops: true,
    hasSlots: true,
    hasProcesses: false,
    isConcurrent,
  });
}
