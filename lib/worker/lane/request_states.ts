/**
 * The states of a request and the steps between them, asserted.
 *
 *     received ─┬─► eta ──┐        (held here until due)
 *               ├─► limited ─┐     (waits for a token)
 *               ├─► checking ┤     (a redelivered copy: has it succeeded already?)
 *               └────────────┴─► reserved ─► submitted ─► accepted ─┬─► done
 *                                                                   └─► cancelled ─► done
 *
 * A `reserved` request waits for a free slot. The outcome of a `cancelled` request changes nothing, since its
 * message has been delivered again. Jobs that the pool returns become reserved again. Every state may go to
 * done (revoked, expired, given back, dropped).
 */

import { assert } from "../../base/mod.ts";

/** A request's states. */
export const RequestState = {
  received: 0,
  eta: 1,
  limited: 2,
  checking: 3,
  reserved: 4,
  submitted: 5,
  accepted: 6,
  cancelled: 7,
  done: 8,
} as const;

/** One of the numbers of `RequestState`. */
export type RequestStateValue = typeof RequestState[keyof typeof RequestState];

const S = RequestState;
const bit = (...states: number[]): number => states.reduce((bits, state) => bits | (1 << state), 0);

const NEXT: readonly number[] = [
  bit(S.eta, S.limited, S.checking, S.reserved, S.done),
  bit(S.limited, S.checking, S.reserved, S.done),
  bit(S.reserved, S.done),
  bit(S.reserved, S.limited, S.eta, S.done),
  bit(S.submitted, S.done),
  bit(S.accepted, S.reserved, S.done),
  bit(S.reserved, S.cancelled, S.done),
  bit(S.reserved, S.done),
  0,
];

/**
 * Moves a request to a state; a step that is not in the picture above is a programming error. Data lane: per
 * message.
 */
export function advance(request: { state: RequestStateValue }, to: RequestStateValue): void {
  assert((NEXT[request.state]! & (1 << to)) !== 0, "a request moves along its states");
  request.state = to;
}
