/** What all routes of the API share: context, access check, faults, audit. */

import type { Context } from "hono";
import { errorText, maskUrls, OperatingError, UsageError } from "../../base/mod.ts";
import type { Access, Identity, Scope } from "../auth/access.ts";
import { allows } from "../auth/access.ts";
import type { Audit } from "../auth/audit.ts";
import type { Cluster } from "../cluster/cluster.ts";
import type { Inspector } from "../cluster/inspector.ts";
import type { QueueWatch } from "../cluster/queues.ts";
import { SearchError } from "../history/search.ts";
import type { Shape } from "../shapes.ts";

/** The variables in a request's context. */
export interface Env {
  Variables: {
    /** Null if not identified. */
    identity: Identity | null;
    peer: string | null;
  };
}

/** The context of a route. */
export type Ctx = Context<Env>;

/** The parts that routes use. */
export interface Parts {
  readonly cluster: Cluster;
  readonly inspector: Inspector;
  readonly queues: QueueWatch;
  readonly access: Access;
  readonly audit: Audit;
  readonly hasModule: boolean;
}

/** The error of a refused request, with its status. */
export class Refused extends Error {
  override name = "Refused";
  readonly status: 400 | 401 | 403 | 404 | 413 | 415 | 421 | 503;
  readonly hint: string | null;
  constructor(status: Refused["status"], message: string, hint: string | null = null) {
    super(message);
    this.status = status;
    this.hint = hint;
  }
}

/** Throws Refused if the request's user does not have a scope. */
export function mustBeAllowed(c: Ctx, access: Access, needs: Scope): void {
  const identity = c.get("identity");
  if (identity === null) throw new Refused(401, "This needs a login");
  if (allows(identity.scope, needs)) return;
  throw access.isReadOnly
    ? new Refused(403, "Read only mode is enabled", "The console was started with --read-only.")
    : new Refused(403, `This needs the scope ${needs}, and yours is ${identity.scope}`);
}

/** Returns the status and text of an error; null for a programming error. */
export function faultOf(error: unknown): { status: Refused["status"]; fault: Shape<"Fault"> } | null {
  if (error instanceof Refused) {
    return { status: error.status, fault: { error: error.message, hint: error.hint } };
  }
  if (error instanceof SearchError || error instanceof UsageError) {
    return { status: 400, fault: { error: error.message, hint: null } };
  }
  if (!(error instanceof OperatingError)) return null;
  return { status: 503, fault: { error: maskUrls(errorText(error)), hint: null } };
}

/** Runs an action and records its outcome in the audit log. */
export async function audited<T>(
  c: Ctx,
  audit: Audit,
  { action, target }: { action: string; target: string },
  act: () => Promise<T>,
): Promise<T> {
  const note = (outcome: string) =>
    audit.note({
      user: c.get("identity")?.user ?? null,
      from: c.get("peer") ?? "unix",
      action,
      target,
      outcome,
    });
  try {
    const result = await act();
    note("ok");
    return result;
  } catch (error) {
    note(faultOf(error)?.fault.error ?? "failed");
    throw error;
  }
}
