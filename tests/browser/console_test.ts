/**
 * The console's pages in a browser, on the real `lovage ui`, with real workers on a Redis of their own. One browser and
 * one cluster serve all steps; each step has pages of its own. What pages complain of (script errors, what the content
 * policy refused, dialogs) fails the step.
 */

import { startBroken } from "./hostile.ts";
import { actions } from "./actions.ts";
import { access } from "./access.ts";
import { accessible } from "./accessible.ts";
import { hostile } from "./hostile.ts";
import { live } from "./live.ts";
import { openCluster, type Step } from "./cluster.ts";
import { reading } from "./reading.ts";
import { workers } from "./workers.ts";

/** A pattern of step names, to run some of them alone: STEPS=search make test T=tests/browser. */
const chosen = new RegExp(Deno.env.get("STEPS") ?? "");
const steps: Readonly<Record<string, Step>> = {
  ...reading,
  ...live,
  ...hostile,
  ...actions,
  ...workers,
  ...access,
  ...accessible,
};

Deno.test("the console in a browser", async (t) => {
  await using cluster = await openCluster();
  await startBroken(cluster);
  for (const [name, step] of Object.entries(steps)) {
    await t.step({
      name,
      ignore: !chosen.test(name),
      async fn() {
        await step(cluster);
        cluster.browser.mustBeQuiet();
      },
    });
  }
});
