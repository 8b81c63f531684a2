/** Waits until a cluster has enough nodes: for scripts, deployments and CI. */

import { DialError, isRetryable, type World } from "../base/mod.ts";
import type { Answer, Ask } from "./mailbox.ts";
import type { ControlClient } from "./client.ts";

/** Milliseconds between two requests. */
const LOOK_MS = 100;

/** What to wait for. */
export interface WaitOptions {
  /** Nodes that must answer. */
  readonly min: number;
  /** Milliseconds until the last request; 0: one request. */
  readonly waitMs: number;
  readonly ask: Ask;
}

/**
 * Asks until `min` nodes have answered or the time is over, and resolves with the last answer. A broker that
 * cannot be reached yet is tried again; if the time is over, rejects with its error. Other errors reject at
 * once.
 */
export async function waitForNodes(
  world: World,
  open: () => Promise<ControlClient>,
  options: WaitOptions,
): Promise<Answer> {
  const endMs = world.clock.monoMs() + options.waitMs;
  for (;;) {
    let failure: unknown = null;
    let answer: Answer | null = null;
    try {
      answer = await askUntil(world, open, options, endMs);
    } catch (error) {
      const isPassing = error instanceof DialError || isRetryable(error);
      if (!isPassing) throw error;
      failure = error;
    }
    if (answer !== null) return answer;
    if (world.clock.monoMs() + LOOK_MS > endMs) throw failure;
    await world.clock.sleep(LOOK_MS);
  }
}

async function askUntil(
  world: World,
  open: () => Promise<ControlClient>,
  { min, ask }: WaitOptions,
  endMs: number,
): Promise<Answer> {
  await using cluster = await open();
  for (;;) {
    const answer = await cluster.ask(ask);
    if (answer.replies.length >= min || world.clock.monoMs() + LOOK_MS > endMs) return answer;
    await world.clock.sleep(LOOK_MS);
  }
}
