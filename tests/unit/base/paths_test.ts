import assert from "node:assert/strict";
import { embeddedDatabasePath, embeddedHome } from "../../../lib/base/mod.ts";
import { fakeWorld } from "../../support/fake_world.ts";

const hostOf = (env: Record<string, string>) => fakeWorld({ env }).host;

Deno.test("embeddedHome: LOVAGE_HOME, then XDG_STATE_HOME, then the home folder", () => {
  const all = { LOVAGE_HOME: "/srv/lovage", XDG_STATE_HOME: "/state", HOME: "/home/a" };
  assert.equal(embeddedHome(hostOf(all)), "/srv/lovage");
  assert.equal(embeddedHome(hostOf({ XDG_STATE_HOME: "/state/", HOME: "/home/a" })), "/state/lovage");
  assert.equal(
    embeddedHome(hostOf({ XDG_STATE_HOME: "relative", HOME: "/home/a" })),
    "/home/a/.local/state/lovage",
  );
  assert.equal(embeddedHome(hostOf({ HOME: "/" })), "/.local/state/lovage");
  assert.equal(embeddedHome(hostOf({ LOVAGE_HOME: "here/../there" })), "/here/there");
  const odd = "/a b/é%41#?*";
  assert.equal(embeddedHome(hostOf({ LOVAGE_HOME: odd })), odd);
  assert.throws(() => embeddedHome(hostOf({})), /LOVAGE_HOME/);
});

Deno.test("embeddedDatabasePath: default, absolute, relative", () => {
  const host = hostOf({ LOVAGE_HOME: "/srv" });
  const path = (url: string) => embeddedDatabasePath(url, host);
  assert.equal(path("sqlite://"), "/srv/lovage.db");
  assert.equal(path("sqlite:"), "/srv/lovage.db");
  assert.equal(path("sqlite:///"), "/srv/lovage.db");
  assert.equal(path("sqlite:///path.db"), "/path.db");
  assert.equal(path("sqlite:////var/x.db?timeout=3"), "/var/x.db");
  assert.equal(path("sqlite:///a%20b/%C3%BC.db"), "/a b/ü.db");
  assert.equal(path("sqlite:///a%2541%23%3F.db"), "/a%41#?.db");
  assert.equal(path("sqlite://dir/x.db"), "/here/dir/x.db");
  assert.equal(path("sqlite://../x.db"), "/x.db");
  for (const wrong of ["redis://h", "sqlite:///dir/", "sqlite://:memory:", "sqlite:///a%zz"]) {
    assert.throws(() => path(wrong), { name: "UsageError" }, wrong);
  }
});
