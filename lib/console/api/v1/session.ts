/** Who is there, and what they may do; logging in and out. */

import type { Access, Identity } from "../../auth/access.ts";
import { allows, SESSION_COOKIE } from "../../auth/access.ts";
import type { Shape } from "../../shapes.ts";
import { jsonResponse } from "../json.ts";
import { type Ctx, type Parts, Refused } from "../request.ts";
import { SHAPES } from "../../shapes.ts";
import { type RouteFacts, ROUTES } from "./schema.ts";
import { AUDITED, type HandledRoute } from "./handlers.ts";
import { checkedBody } from "./server.ts";

/** What a page is told of the console beside who it is for. */
export type SessionFacts = Pick<
  Shape<"Session">,
  | "oidcName"
  | "prefix"
  | "version"
  | "broker"
  | "hasResults"
  | "hasHistory"
  | "hasModule"
  | "taskColumns"
  | "isNaturalTime"
  | "autoRefresh"
>;

/** The session of one who asks; null: nobody who is known. */
export function sessionOf(
  identity: Identity | null,
  { access, facts, now }: { access: Access; facts: SessionFacts; now: number },
): Shape<"Session"> {
  // Only who is logged in is told of the cluster.
  const shown = identity !== null ? facts : { ...facts, broker: "", hasResults: false, hasModule: false };
  return {
    user: identity?.user ?? null,
    isLoggedIn: identity !== null,
    scope: identity?.scope ?? null,
    actions: identity === null ? [] : actionsOf(identity),
    isReadOnly: access.isReadOnly,
    logins: access.logins,
    ...shown,
    now,
  };
}

/** Logs in by user and password or by a token; the answer sets the cookie. Throws Refused. */
export async function logIn(c: Ctx, parts: Parts, facts: SessionFacts, isSecure: boolean): Promise<Response> {
  const { access, audit, cluster } = parts;
  const body = await checkedBody(c, ROUTES.login.body) as {
    user?: string;
    password?: string;
    token?: string;
  };
  const { user, password, token } = body;
  const identity = token !== undefined
    ? access.byToken(token)
    : user !== undefined && password !== undefined
    ? await access.byPassword(user, password)
    : null;
  const from = c.get("peer") ?? "unix";
  audit.note({
    user: user ?? null,
    from,
    action: "login",
    target: token === undefined ? "password" : "token",
    outcome: identity === null ? "refused" : "ok",
  });
  if (identity === null) throw new Refused(401, "Nobody has these", "Check user and password, or the token.");
  const scope = access.isReadOnly ? "read" as const : identity.scope;
  const now = cluster.world.clock.wallMs() / 1000;
  const response = jsonResponse(sessionOf({ ...identity, scope }, { access, facts, now }));
  response.headers.append("set-cookie", access.cookieFor(identity, isSecure));
  return response;
}

/** Ends a session. */
export function logOut({ access, cluster }: Parts, facts: SessionFacts, isSecure: boolean): Response {
  const now = cluster.world.clock.wallMs() / 1000;
  const response = jsonResponse(sessionOf(null, { access, facts, now }));
  response.headers.append("set-cookie", access.cookie(SESSION_COOKIE, "", { seconds: 0, isSecure }));
  return response;
}

/** The actions that somebody may do. */
function actionsOf({ scope }: Identity): string[] {
  const names = new Set<string>();
  for (const [route, word] of Object.entries(AUDITED)) {
    const facts: RouteFacts = ROUTES[route as HandledRoute];
    if (facts.scope !== "none" && allows(scope, facts.scope)) names.add(word);
  }
  if (names.has("revoke")) names.add("terminate");
  if (names.has("enable_events")) names.add("disable_events");
  // In the order in which they are listed, without the words that are the audit's alone.
  const all = (SHAPES.Action as unknown as { anyOf: { const: string }[] }).anyOf.map((one) => one.const);
  return all.filter((name) => names.has(name));
}
