/** Signed messages with Python: tasks, results, remote control and events both ways; what is not signed is refused. */

import assert from "node:assert/strict";
import { App } from "lovage";
import { makeSigner, type Signer } from "../support/certificates.ts";
import { eventually } from "../support/ports.ts";
import {
  lovage,
  type Place,
  PythonClient,
  startPythonWorker,
  startWorker,
  TASKS,
} from "../support/programs.ts";
import { realTestWorld } from "../support/real_test_world.ts";
import { requirePython, startRedis } from "../support/servers.ts";

const PASSPHRASE = "open sesame";

Deno.test("a cluster that signs: Python's worker and client, and ours", async (t) => {
  // Neither kind of Celery reads the other's layout.
  const layout = (await requirePython()).version < 5.05 ? "5.2" as const : "5.5" as const;
  const folder = await Deno.makeTempDir();
  const store = `${folder}/store`;
  await Deno.mkdir(store);
  const python = await makeSigner(folder, "python");
  const ours = await makeSigner(folder, "ours", { bits: 3072, passphrase: PASSPHRASE });
  const stranger = await makeSigner(folder, "stranger");
  for (const { certificate } of [python, ours]) {
    await Deno.copyFile(certificate, certificate.replace(folder, store));
  }
  const conf = ({ key, certificate }: Signer) => ({
    security_key: key,
    security_certificate: certificate,
    security_cert_store: `${store}/*.crt`,
    task_serializer: "auth",
    event_serializer: "auth",
    result_serializer: "auth",
    accept_content: ["auth"],
  });
  await using redis = await startRedis();
  const url = redis.url();
  const base = { broker: url, backend: url };
  const signed = { ...conf(ours), security_key_password: PASSPHRASE, security_layout: layout };
  const place: Place = { ...base, conf: signed };
  const theirs: Place = { ...base, conf: conf(python) };
  await using worker = await startWorker(place, ["-n", "l1@test", "-c", "1", "-E"]);
  await using _python = await startPythonWorker(theirs, ["-n", "p1@test", "-Q", "py", "-E"]);
  await using app = new App("asker", { broker_url: url, result_backend: url, ...signed }, {
    world: realTestWorld(),
  });
  app.setupSecurity();

  await t.step("tasks and results, from Python to us and back", async () => {
    await using client = await PythonClient.start(theirs);
    const id = await client.send("t.add", [2, 3]);
    assert.deepEqual(await client.get(id), { state: "SUCCESS", value: 5 });
    const failed = await client.get(await client.send("t.fail", ["ValueError", "boom"]));
    assert.deepEqual([failed.error, failed.args], ["ValueError", ["boom"]]);
    const sent = await app.sendTask("t.add", { args: [4, 5], queue: "py" });
    assert.equal(await sent.get({ timeout: 120 }), 9);
    const header = "chord([s('t.add', i, i).set(queue=q) for i, q in enumerate(['celery', 'py', 'celery'])])";
    for (const queue of ["py", "celery"]) {
      const joined = await client.ask({
        do: "eval",
        code: `${header}(s('t.echo').set(queue='${queue}')).get(timeout=60)`,
      });
      assert.deepEqual(joined.value, [0, 2, 4]);
    }
    const pong = await client.ask({
      do: "eval",
      code: "sorted(k for r in app.control.ping(timeout=2, limit=2) for k in r)",
    });
    assert.deepEqual(pong.value, ["l1@test", "p1@test"]);
  });

  await t.step("remote control and events, ours", async () => {
    assert.deepEqual(Object.keys(await app.control.ping({ timeout: 10 })).sort(), ["l1@test", "p1@test"]);
    const { code, out } = await lovage(["-A", TASKS, "status"], place);
    assert.deepEqual([code, out.match(/OK/g)?.length], [0, 2]);
    const heard = new Map<string, string>();
    await using _receiver = await app.events.receiver({
      handlers: { "*": (event) => void heard.set(`${event.hostname} ${event.type}`, String(event.uuid)) },
    });
    for (const [queue, name] of [["celery", "l1@test"], ["py", "p1@test"]] as const) {
      const { id } = await app.sendTask("t.add", { args: [1, 1], queue });
      await eventually(() => heard.get(`${name} task-succeeded`) === id, () => `events of ${name}`);
    }
  });

  await t.step(
    "unsigned, changed, or signed by a stranger: one line, kept aside, and the worker goes on",
    async () => {
      const take = async (app: App): Promise<Record<string, unknown>> => {
        await app.sendTask("t.kw", { args: ["forged"], queue: "nobody" });
        return JSON.parse(await redis.cli("LPOP", "nobody"));
      };
      const changed = await take(app);
      const body = Uint8Array.fromBase64(atob(changed["body"] as string));
      const at = body.length - 60;
      changed["body"] = btoa(body.fill(body[at]! ^ 1, at, at + 1).toBase64());
      await using unsigned = new App("plain", { broker_url: url }, { world: realTestWorld() });
      const plain = await take(unsigned);
      await using other = new App("other", {
        broker_url: url,
        ...conf(stranger),
        security_layout: "5.5",
      }, { world: realTestWorld() });
      other.setupSecurity();
      const strange = await take(other);
      app.setupSecurity();
      for (
        const [message, says] of [
          [changed, /Cannot verify signed message: the signature of "ours \d+" does not match this content/],
          [plain, /Refusing to deserialize disallowed content of type application\/json/],
          [strange, /Cannot verify signed message: no certificate "stranger \d+" is trusted/],
        ] as const
      ) {
        await redis.cli("LPUSH", "celery", JSON.stringify(message));
        await worker.says(says);
      }
      assert.equal(worker.text.match(/CRITICAL\/MainProcess\] Can't decode message body/g)?.length, 3);
      assert.doesNotMatch(worker.text, /Task t\.kw/);
      const { out } = await lovage(["-b", url, "dead", "list", "--json"], base);
      assert.equal((JSON.parse(out) as unknown[]).length, 3);

      await unsigned.control.rateLimit("t.add", "1/h");
      await worker.says(/Ignored a control message: Refusing to deserialize untrusted content of type json/);
      assert.equal(await (await app.sendTask("t.add", { args: [1, 2] })).get({ timeout: 120 }), 3);
    },
  );

  await t.step("no key and no passphrase in what is told", async () => {
    const { out } = await lovage(["-A", TASKS, "report"], place);
    const { out: told } = await lovage(["-A", TASKS, "inspect", "conf", "-d", "l1@test"], place);
    assert.match(told, /security_key_password/);
    for (const text of [out, told, worker.text]) assert.doesNotMatch(text, /open sesame|PRIVATE KEY/);
  });

  await t.step("what is missing or wrong is one line at the start, and its exit status", async () => {
    const start = (changes: Record<string, unknown>) =>
      lovage(["-A", TASKS, "worker", "-P", "solo"], { ...base, conf: { ...signed, ...changes } });
    for (
      const [changes, says] of [
        [{ security_key_password: "guess" }, /security_key_password does not open it/],
        [{ security_key: `${folder}/none.key` }, /Cannot read security_key: /],
        [{ security_key: null }, /Serializer 'auth' has no keys/],
        [{ security_cert_store: null }, /Signed messages need the setting security_cert_store/],
        [
          { accept_content: ["json", "auth"] },
          /need task_serializer = "auth" and accept_content = \["auth"\]/,
        ],
      ] as const
    ) {
      const { code, out, err } = await start(changes);
      assert.notEqual(code, 0);
      assert.match(out + err, says);
      assert.doesNotMatch(out + err, /guess|sesame| at .*\.ts:/);
    }
  });
  await Deno.remove(folder, { recursive: true });
});
