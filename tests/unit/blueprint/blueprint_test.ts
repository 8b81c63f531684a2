import assert from "node:assert/strict";
import {
  Blueprint,
  bootOrder,
  CycleError,
  graphToDot,
  StartStopStep,
  Step,
} from "../../../lib/blueprint/mod.ts";
import { fakeWorld } from "../../support/fake_world.ts";

interface Parent {
  calls: string[];
}

function service(
  name: string,
  options: { requires?: string[]; last?: boolean; start?: () => Promise<void>; included?: boolean } = {},
): StartStopStep<Parent> {
  return new class extends StartStopStep<Parent> {
    readonly name = name;
    override readonly requires = options.requires ?? [];
    override readonly last = options.last ?? false;
    override isIncluded(): boolean {
      return options.included ?? true;
    }
    override create(parent: Parent): void {
      parent.calls.push(`create ${name}`);
    }
    override async start(parent: Parent): Promise<void> {
      await options.start?.();
      parent.calls.push(`start ${name}`);
    }
    override close(parent: Parent): void {
      parent.calls.push(`close ${name}`);
    }
    override stop(parent: Parent): void {
      parent.calls.push(`stop ${name}`);
    }
    override terminate(parent: Parent): void {
      parent.calls.push(`terminate ${name}`);
    }
    override shutdown(parent: Parent): void {
      parent.calls.push(`shutdown ${name}`);
    }
  }();
}

class Timer extends Step<Parent> {
  readonly name = "Timer";
}

function workerSteps(): Step<Parent>[] {
  return [
    new Timer(),
    service("Hub", { requires: ["Timer"] }),
    service("Pool", { requires: ["Hub"] }),
    service("Consumer", { last: true }),
  ];
}

Deno.test("Blueprint: boots in order and says so as Celery does", async () => {
  const { log } = fakeWorld();
  const parent: Parent = { calls: [] };
  const blueprint = new Blueprint<Parent>("Worker", log);
  blueprint.apply(parent, workerSteps());
  await blueprint.start(parent);
  assert.deepEqual(log.messages("DEBUG"), [
    "| Worker: Preparing bootsteps.",
    "| Worker: Building graph...",
    "| Worker: New boot order: {Timer, Hub, Pool, Consumer}",
    "| Worker: Starting Hub",
    "^-- substep ok",
    "| Worker: Starting Pool",
    "^-- substep ok",
    "| Worker: Starting Consumer",
    "^-- substep ok",
  ]);
  assert.equal(blueprint.state, "running");
});

Deno.test("Blueprint: closes forward, stops backward, once", async () => {
  const { log } = fakeWorld();
  const parent: Parent = { calls: [] };
  const hooks: string[] = [];
  const blueprint = new Blueprint<Parent>("Worker", log, {
    onStart: () => void hooks.push("start"),
    onClose: () => void hooks.push("close"),
    onStopped: () => void hooks.push("stopped"),
  });
  blueprint.apply(parent, workerSteps());
  await blueprint.start(parent);
  parent.calls.length = 0;
  log.records.length = 0;
  await blueprint.stop(parent);
  await blueprint.stop(parent);
  assert.deepEqual(parent.calls, [
    "close Hub",
    "close Pool",
    "close Consumer",
    "stop Consumer",
    "stop Pool",
    "stop Hub",
  ]);
  assert.deepEqual(log.messages("DEBUG"), [
    "| Worker: Closing Hub...",
    "| Worker: Closing Pool...",
    "| Worker: Closing Consumer...",
    "| Worker: Stopping Consumer...",
    "| Worker: Stopping Pool...",
    "| Worker: Stopping Hub...",
  ]);
  assert.deepEqual(hooks, ["start", "close", "stopped"]);
  assert.equal(blueprint.state, "terminating");
});

Deno.test("Blueprint: terminate, restart and shutdown call their methods backward", async () => {
  const { log } = fakeWorld();
  const parent: Parent = { calls: [] };
  const blueprint = new Blueprint<Parent>("Consumer", log);
  blueprint.apply(parent, [service("A"), service("B", { requires: ["A"] })]);
  await blueprint.start(parent);
  parent.calls.length = 0;
  await blueprint.restart(parent);
  await blueprint.start(parent);
  await blueprint.stop(parent, { terminate: true });
  await blueprint.shutdown(parent);
  assert.deepEqual(parent.calls, [
    "stop B",
    "stop A",
    "start A",
    "start B",
    "close A",
    "close B",
    "terminate B",
    "terminate A",
    "shutdown B",
    "shutdown A",
  ]);
});

Deno.test("Blueprint: a step that fails to start rejects; stop then ends what was built", async () => {
  const { log } = fakeWorld();
  const parent: Parent = { calls: [] };
  const blueprint = new Blueprint<Parent>("Worker", log);
  const broken = service("B", { requires: ["A"], start: () => Promise.reject(new Error("no")) });
  blueprint.apply(parent, [service("A"), broken]);
  await assert.rejects(() => blueprint.start(parent), /no/);
  parent.calls.length = 0;
  await blueprint.stop(parent);
  assert.deepEqual(parent.calls, ["close A", "close B", "stop B", "stop A"]);
});

Deno.test("Blueprint: an error while stopping is told, and the others are stopped", async () => {
  const { log } = fakeWorld();
  const parent: Parent = { calls: [] };
  const blueprint = new Blueprint<Parent>("Worker", log);
  const broken = service("B", { requires: ["A"] });
  broken.stop = () => {
    throw new Error("stuck");
  };
  blueprint.apply(parent, [service("A"), broken]);
  await blueprint.start(parent);
  await blueprint.stop(parent);
  assert.ok(parent.calls.includes("stop A"));
  assert.deepEqual(log.messages("ERROR"), ["Error on stopping B: stuck"]);
});

Deno.test("Blueprint: a step that is not included is ordered and left alone", async () => {
  const { log } = fakeWorld();
  const parent: Parent = { calls: [] };
  const blueprint = new Blueprint<Parent>("Worker", log);
  blueprint.apply(parent, [service("A", { included: false }), service("B")]);
  await blueprint.start(parent);
  assert.deepEqual(parent.calls, ["create B", "start B"]);
  assert.deepEqual(blueprint.order.map((step) => step.name), ["A", "B"]);
});

Deno.test("bootOrder: Celery's consumer, in the order its log prints", () => {
  const steps = [
    service("Connection"),
    service("Events", { requires: ["Connection"] }),
    service("Heart", { requires: ["Events"] }),
    service("Mingle", { requires: ["Events"] }),
    service("Gossip", { requires: ["Mingle"] }),
    service("Tasks", { requires: ["Mingle"] }),
    service("Control", { requires: ["Tasks"] }),
    service("Agent", { requires: ["Connection"] }),
    service("event loop", { last: true }),
  ];
  const names = "Connection, Events, Heart, Mingle, Gossip, Tasks, Control, Agent, event loop";
  assert.equal(bootOrder(steps).map((step) => step.name).join(", "), names);
  const reversed = bootOrder([...steps].reverse()).map((step) => step.name);
  assert.equal(reversed.at(-1), "event loop");
  assert.ok(reversed.indexOf("Mingle") < reversed.indexOf("Tasks"));
});

Deno.test("bootOrder: a circle is named, an absent requirement passed over", () => {
  assert.throws(
    () => bootOrder([service("A", { requires: ["B"] }), service("B", { requires: ["A"] })]),
    CycleError,
  );
  assert.deepEqual(bootOrder([service("A", { requires: ["Gone"] })]).map((step) => step.name), ["A"]);
});

Deno.test("graphToDot: nodes, edges, and one blueprint hung on the other", () => {
  const dot = graphToDot([workerSteps(), [service("Connection"), service("loop", { last: true })]]);
  assert.match(dot, /^digraph dependencies \{\n/);
  assert.match(dot, /"Hub" -> "Timer" \[/);
  assert.match(dot, /"⧉Consumer" -> "Pool" \[[^\]]*arrowhead="none"/);
  assert.match(dot, /"Connection" -> "⧉Consumer" \[/);
  assert.match(dot, /\}\n$/);
});
