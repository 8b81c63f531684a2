/** The session: user and permissions, login and logout. */

import type { Access, Identity } from "../../auth/access.ts";
import { allows, SESSION_COOKIE } from "../../auth/access.ts";
import type { Shape } from "../../shapes.ts";
import { jsonResponse } from "../json.ts";
import { type Ctx, type Parts, Refused } from "../request.ts";
import { ACTION_WORDS } from "../../shapes.ts";
import { type RouteFacts, ROUTES } from "./schema.ts";
import { AUDITED, type HandledRoute } from "./handlers.ts";
import { checkedBody } from "./server.ts";

/** The fields of a session that do not depend on the user. */
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

/** Returns the session of an identity; null means not identified. */
export function sessionOf(
  identity: Identity | null,
  { access, facts, now }: { access: Access; facts: SessionFacts; now: number },
): Shape<"Session"> {
  // Facts about the cluster are shown only after login.
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

/** Logs in with user and password or with a token; the answer sets the cookie. Rejects with Refused. */
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
  if (identity === null) throw new Refused(401, "Login failed", "Check user and password, or the token.");
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

/** Returns the names of the actions that an identity may take. */
function actionsOf({ scope }: Identity): string[] {
  const names = new Set<string>();
  for (const [route, word] of Object.entries(AUDITED)) {
    const facts: RouteFacts = ROUTES[route as HandledRoute];
    if (facts.scope !== "none" && allows(scope, facts.scope)) names.add(word);
  }
  if (names.has("revoke")) names.add("terminate");
  if (names.has("enable_events")) names.add("disable_events");
  // In the order of the shape `Action`, without names that only the audit log has.
  return ACTION_WORDS.filter((name) => names.has(name));
}
