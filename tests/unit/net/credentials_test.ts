import assert from "node:assert/strict";
import { AccessRefused, errorText, UsageError } from "../../../lib/base/mod.ts";
import { Credentials, type Login } from "../../../lib/net/mod.ts";
import { fakeWorld } from "../../support/fake_world.ts";
import { realTestWorld } from "../../support/real_test_world.ts";
import { disposableFolder } from "../../support/temporary.ts";

const SETTING = "broker_transport_options";

function reader(options: Record<string, unknown>) {
  const world = fakeWorld();
  return { world, credentials: Credentials.of(world, SETTING, options) };
}

/** A token that expires at a second of Unix time. */
function token(exp: number): string {
  const part = (value: unknown) => btoa(JSON.stringify(value)).replaceAll("=", "").replaceAll("/", "_");
  return `${part({ alg: "none" })}.${part({ exp, sub: "shop?>" })}.sig`;
}

Deno.test("Credentials: without the options there are none; wrong ones are named", () => {
  assert.equal(reader({}).credentials, null);
  assert.equal(reader({ credentials: null, password_command: null }).credentials, null);
  const wrong: [Record<string, unknown>, RegExp][] = [
    [
      { credentials: "secret" },
      /Cannot use broker_transport_options\["credentials"\]: it must be a function/,
    ],
    [{ password_command: "" }, /\["password_command"\]: it must be the path of one executable/],
    [{ password_command: "cat" }, /it must be the path of one executable/],
    [{ password_command: ["/bin/cat"] }, /it must be the path of one executable/],
    [
      { password_command: "/bin/cat", credentials: () => {} },
      /both "credentials" and "password_command".*: remove one/,
    ],
    [{ credentials: () => {}, credentials_lifetime: 0 }, /it must be a number of seconds above 0/],
  ];
  for (const [options, message] of wrong) {
    assert.throws(
      () => reader(options),
      (error) => error instanceof UsageError && message.test(error.message),
    );
  }
});

Deno.test("Credentials.ask: what the function gives, and when it expires", async () => {
  const given: [unknown, Record<string, unknown>, number][] = [
    [{ username: "us", password: "pw" }, {}, Infinity],
    [{ username: "us", password: "pw", expires: 90 }, {}, 90_000],
    [{ username: "us", password: "pw", expires: new Date(Date.UTC(2024, 0, 2, 3, 5)) }, {}, 54_322],
    [{ username: "us", password: "pw" }, { credentials_lifetime: 600 }, 600_000],
    [{ username: "us", password: "pw", expires: 90 }, { credentials_lifetime: 600 }, 90_000],
  ];
  for (const [value, more, leftMs] of given) {
    const { world, credentials } = reader({ credentials: () => Promise.resolve(value), ...more });
    const login = await credentials!.ask();
    assert.deepEqual([login.username, login.password], ["us", "pw"]);
    assert.equal(login.expiresMs - world.clock.wallMs(), leftMs);
    world.clock.checkNothingArmed();
  }
  const jwt = token(1_704_164_645);
  const { credentials } = reader({ credentials: () => ({ password: jwt }), credentials_lifetime: 600 });
  assert.deepEqual(await credentials!.ask(), {
    username: null,
    password: jwt,
    expiresMs: 1_704_164_645_000,
  });
  const odd = reader({ credentials: () => ({ password: "a.b.c" }) }).credentials!;
  assert.equal((await odd.ask()).expiresMs, Infinity);
});

Deno.test("Credentials.ask: a function that fails, gives nonsense or does not answer", async () => {
  const cases: [() => unknown, RegExp][] = [
    [
      () => Promise.reject(new Error("vault is sealed")),
      /^Cannot get the credentials of .*: vault is sealed$/,
    ],
    [() => "secret", /must return { username, password }, both strings$/],
    [() => ({ username: 1, password: "secret" }), /both strings$/],
    [() => ({ password: "secret", expires: "soon" }), /"expires" must be a Date, or the number of seconds/],
  ];
  for (const [fn, message] of cases) {
    const { credentials } = reader({ credentials: fn });
    await assert.rejects(credentials!.ask(), (error) => {
      const text = errorText(error);
      return message.test(text) && !text.includes("secret") && (error as AccessRefused).isRetryable;
    });
  }
  const { world, credentials } = reader({ credentials: () => new Promise(() => {}) });
  const asking = assert.rejects(credentials!.ask(), /no answer in 10 s/);
  await world.clock.advance(10_000);
  await asking;
  const abort = new AbortController();
  const aborted = assert.rejects(credentials!.ask(abort.signal), /enough/);
  abort.abort(new Error("enough"));
  await aborted;
  world.clock.checkNothingArmed();
});

Deno.test("Credentials.logIn: asked at each login, and again within a second where the server refuses", async () => {
  let asked = 0;
  const { world, credentials } = reader({ credentials: () => ({ password: `pw${++asked}` }) });
  const used: string[] = [];
  const logIn = (good: string) =>
    credentials!.logIn(({ password }) => {
      used.push(password);
      return password === good ? Promise.resolve(password) : Promise.reject(new AccessRefused("refused"));
    });
  assert.equal(await logIn("pw1"), "pw1");
  await world.clock.advance(1000);
  // A new one is used at once.
  assert.equal(await logIn("pw4"), "pw4");
  assert.deepEqual(used, ["pw1", "pw2", "pw3", "pw4"]);
  world.clock.checkNothingArmed();
});

Deno.test("Credentials.logIn: connections that are made together, to broker and results, share one answer", async () => {
  let asked = 0;
  const given: (() => void)[] = [];
  const fn = () => {
    const password = `pw${++asked}`;
    return new Promise((resolve) => given.push(() => resolve({ password })));
  };
  const { world, credentials: broker } = reader({ credentials: fn });
  const results = Credentials.of(world, "result_backend_transport_options", { credentials: fn })!;
  let good = "pw1";
  const attempt = ({ password }: { password: string }) =>
    password === good ? Promise.resolve(password) : Promise.reject(new AccessRefused("WRONGPASS"));
  const both = () => Promise.all([broker!.logIn(attempt), results.logIn(attempt)]);
  const first = both();
  given.shift()!();
  assert.deepEqual(await first, ["pw1", "pw1"]);
  // Given a moment ago, and no longer good: one of the two asks, for both.
  good = "pw2";
  const second = both();
  while (given.length === 0) await Promise.resolve();
  given.splice(0).forEach((give) => give());
  assert.deepEqual(await second, ["pw2", "pw2"]);
  assert.equal(asked, 2);
});

Deno.test("Credentials.logIn: a refusal that lasts is told after a second; other errors at once", async () => {
  const { world, credentials } = reader({ credentials: () => ({ password: "old" }) });
  let attempts = 0;
  const refused = assert.rejects(
    credentials!.logIn(() => Promise.reject(new AccessRefused(`refused ${++attempts}`))),
    { message: "refused 5" },
  );
  await world.clock.advance(1000);
  await refused;
  await assert.rejects(credentials!.logIn(() => Promise.reject(new Error("away"))), /away/);
  world.clock.checkNothingArmed();
});

Deno.test("Credentials.keepFresh: renews before the end, tries again what fails, and stops", async () => {
  let step = 0;
  const { world, credentials } = reader({
    credentials: () => {
      if (++step === 2) throw new Error("away");
      return { username: "us", password: `pw${step}`, expires: step === 1 ? 3600 : 10 };
    },
  });
  const applied: Login[] = [];
  const apply = (login: Login) => {
    applied.push(login);
    return Promise.resolve();
  };
  const renewal = credentials!.keepFresh(await credentials!.ask(), apply);
  await world.clock.advance(3_539_000);
  assert.equal(step, 1);
  await world.clock.advance(1000);
  assert.equal(step, 2);
  await world.clock.advance(1000);
  assert.deepEqual(applied.map(({ password }) => password), ["pw3"]);
  assert.deepEqual(world.log.messages(), [
    "Cannot renew the credentials, trying again: Cannot get the credentials of broker_transport_options: away",
    "The credentials are renewed",
  ]);
  // The last fifth of a short life.
  await world.clock.advance(8000);
  assert.equal(applied.length, 2);
  renewal.stop();
  renewal.stop();
  world.clock.checkNothingArmed();
});

Deno.test("Renewal.now: asks at once, shares what is under way, and plans anew", async () => {
  let asked = 0;
  const { world, credentials } = reader({
    credentials: () => Promise.resolve({ password: `pw${++asked}`, expires: 100 }),
  });
  const applied: string[] = [];
  const renewal = credentials!.keepFresh(await credentials!.ask(), ({ password }) => {
    applied.push(password);
    return Promise.resolve();
  });
  await world.clock.advance(70_000);
  await Promise.all([renewal.now(), renewal.now()]);
  assert.deepEqual(applied, ["pw2"]);
  // The first plan was for 80 s.
  await world.clock.advance(79_000);
  assert.deepEqual(applied, ["pw2"]);
  await world.clock.advance(1000);
  assert.deepEqual(applied, ["pw2", "pw3"]);
  renewal.stop();
  await assert.rejects(renewal.now(), /closed/);
  world.clock.checkNothingArmed();
});

Deno.test("Credentials.keepFresh: what never expires arms nothing; a very long life is no timer of its own", async () => {
  const { world, credentials } = reader({ credentials: () => ({ password: "pw", expires: 10_000_000 }) });
  credentials!.keepFresh({ username: null, password: "pw", expiresMs: Infinity }, () => Promise.resolve())
    .stop();
  world.clock.checkNothingArmed();
  let applied = 0;
  const renewal = credentials!.keepFresh(await credentials!.ask(), () => {
    applied++;
    return Promise.resolve();
  });
  await world.clock.advance(9_999_000_000);
  assert.equal(applied, 0);
  await world.clock.advance(940_000);
  assert.equal(applied, 1);
  renewal.stop();
  world.clock.checkNothingArmed();
});

Deno.test("password_command: the first line that a program writes, and what can go wrong", async () => {
  await using folder = await disposableFolder();
  const world = realTestWorld();
  const program = async (name: string, script: string) => {
    const path = `${folder.path}/${name}`;
    await Deno.writeTextFile(path, `#!/bin/sh\n${script}\n`, { mode: 0o700 });
    return path;
  };
  const ask = (path: string) => Credentials.of(world, SETTING, { password_command: path })!.ask();
  const good = await program("good one", `printf 'pä ss\\r\\nmore\\n'`);
  assert.deepEqual(await ask(good), { username: null, password: "pä ss", expiresMs: Infinity });
  assert.equal((await ask(await program("bare", "printf word"))).password, "word");
  const cases: [string, RegExp][] = [
    [`${folder.path}/none`, /cannot (start|run) ".*none"/],
    [`${good} --flag`, /it must be the path of one executable, without arguments/],
    [
      await program("fails", "echo secret; echo secret >&2; exit 3"),
      /ended with status 3; run it by hand to see why/,
    ],
    [await program("empty", "echo; echo secret"), /the first line that ".*empty" wrote is empty/],
    [await program("killed", "echo secret; kill -9 $$"), /was ended by SIGKILL/],
    [await program("endless", "yes secret"), /wrote more than 65536 bytes/],
  ];
  for (const [path, message] of cases) {
    await assert.rejects(ask(path), (error) => {
      const text = errorText(error);
      assert.match(text, message);
      return !text.includes("secret");
    });
  }
  const abort = new AbortController();
  const credentials = Credentials.of(world, SETTING, {
    password_command: await program("slow", "exec sleep 600"),
  });
  const asking = credentials!.ask(abort.signal);
  abort.abort(new Error("enough"));
  await assert.rejects(asking, /enough/);
});
