import assert from "node:assert/strict";
import { UsageError } from "../../../lib/base/mod.ts";
import { createConf } from "../../../lib/app/conf/conf.ts";
import { INERT_SETTINGS, settingName, SETTINGS } from "../../../lib/app/conf/table.ts";
import golden from "../../golden/settings-5.6.3.json" with { type: "json" };
import { fakeWorld } from "../../support/fake_world.ts";

const conf = (settings = {}, env: Record<string, string> = {}) => createConf(fakeWorld({ env }), settings);
const usage = (text: string | RegExp) => (error: unknown) => {
  assert.ok(error instanceof UsageError);
  if (typeof text === "string") assert.equal(error.message, text);
  else assert.match(error.message, text);
  return true;
};

Deno.test("settings: every default is of its own kind", () => {
  for (const [name, row] of SETTINGS) {
    assert.notEqual(typeof row.accept(row.defaultValue), "symbol", `the default of ${name}`);
  }
});

Deno.test("settings: defaults are Celery's", () => {
  const c = conf();
  assert.equal(c.broker_url, "sqlite://");
  assert.equal(c.task_serializer, "json");
  assert.deepEqual(c.accept_content, ["json"]);
  assert.equal(c.worker_prefetch_multiplier, 4);
  assert.equal(c.result_expires, 86400);
  assert.equal(c.broker_connection_max_retries, 100);
  assert.equal(c.task_default_exchange, "celery");
  assert.equal(c.task_default_routing_key, "celery");
  assert.deepEqual(c.task_publish_retry_policy, {
    max_retries: 3,
    interval_start: 0,
    interval_max: 1,
    interval_step: 0.2,
  });
});

Deno.test("settings: every setting of Celery 5.6.3 is known, under its old name too, with Celery's default", () => {
  // Null asks the broker that is there.
  const differing = new Set(["control_queue_exclusive", "event_queue_exclusive"]);
  const spoken: Readonly<Record<string, unknown>> = { inf: Infinity, "datetime.timedelta(days=1)": 86400 };
  for (
    const [name, [value, old]] of Object.entries(
      golden.settings as unknown as Record<string, [unknown, string]>,
    )
  ) {
    assert.equal(settingName(name), name);
    assert.equal(settingName(old), name);
    const row = SETTINGS.get(name);
    if (row === undefined || differing.has(name)) continue;
    assert.deepEqual(row.defaultValue, spoken[String(value)] ?? value, name);
  }
});

Deno.test("settings: an unknown one names the nearest", () => {
  assert.throws(
    () => conf({ task_ack_late: true }),
    usage('Unknown setting "task_ack_late": did you mean "task_acks_late"?'),
  );
  const c = conf();
  assert.throws(() => {
    (c as unknown as Record<string, unknown>).worker_concurency = 2;
  }, usage('Unknown setting "worker_concurency": did you mean "worker_concurrency"?'));
  assert.throws(() => c.read("broker"), usage('Unknown setting "broker": did you mean "broker_url"?'));
  assert.throws(() => c.read("backend"), usage('Unknown setting "backend": did you mean "result_backend"?'));
  assert.throws(() => c.read("qqqqqqqqqqqqqqqqqqqqqq"), usage('Unknown setting "qqqqqqqqqqqqqqqqqqqqqq"'));
});

Deno.test("settings: a Promise or a Map is no object of names, and is refused", () => {
  const objects = [
    ...["task_routes", "task_queues", "task_annotations", "task_publish_retry_policy", "beat_schedule"],
    ...["broker_transport_options", "broker_use_ssl", "failed_keep"],
  ];
  for (const name of objects) {
    for (const value of [Promise.resolve({}), new Map([["a", "b"]])]) {
      assert.throws(() => conf().update({ [name]: value }), { message: new RegExp(`^${name} must be `) });
    }
  }
  assert.throws(() => conf().update({ task_annotations: { "t.add": new Map() as never } }), UsageError);
});

Deno.test("settings: an ill-typed one says what is expected, and nothing is changed", () => {
  const c = conf();
  const wrong: [string, unknown, string][] = [
    ["task_time_limit", "x", 'task_time_limit must be a number of seconds or null, not "x"'],
    ["task_acks_late", "yes", 'task_acks_late must be true or false, not "yes"'],
    [
      "worker_prefetch_multiplier",
      -1,
      "worker_prefetch_multiplier must be a whole number, at least 0, not -1",
    ],
    ["task_compression", "bzip2", 'task_compression must be gzip, zlib, brotli or zstd or null, not "bzip2"'],
    ["task_compression", "rar", 'task_compression must be gzip, zlib, brotli or zstd or null, not "rar"'],
    ["lease", 0, "lease must be a number of seconds, at least 1, not 0"],
    ["lease", Infinity, "lease must be a number of seconds, at least 1, not Infinity"],
    ["accept_content", [1], "accept_content must be a list of strings, not [1]"],
    ["task_protocol", 3, "task_protocol must be 1 or 2, not 3"],
    [
      "task_default_rate_limit",
      "ten a day",
      'task_default_rate_limit must be a rate such as "10/m" or null, ' +
      'not "ten a day"',
    ],
    [
      "timezone",
      "Mars/Phobos",
      'timezone must be a time zone such as "Europe/Prague" or null, not "Mars/Phobos"',
    ],
    [
      "task_annotations",
      { "*": "10/s" },
      'task_annotations must be an object of task name to options, or a list of those or null, not {"*":"10/s"}',
    ],
    ["redis_password", 12345, "redis_password must be text or null, not ********"],
  ];
  for (const [name, value, text] of wrong) {
    assert.throws(() => c.update({ task_serializer: "yaml", [name]: value }), usage(text));
    assert.equal(c.task_serializer, "json");
  }
});

Deno.test("settings: assignment validates, counts versions and knows what was set", () => {
  const c = conf({ task_acks_late: true });
  const before = c.version;
  c.task_time_limit = 30;
  assert.equal(c.task_time_limit, 30);
  assert.ok(c.version > before);
  assert.ok(c.isSet("task_time_limit") && c.isSet("task_acks_late") && !c.isSet("task_soft_time_limit"));
  c.accept_content = "json" as unknown as string[];
  assert.deepEqual(c.accept_content, ["json"]);
  assert.throws(() => {
    (c as unknown as Record<string, unknown>).task_time_limit = {};
  }, usage("task_time_limit must be a number of seconds or null, not {}"));
});

Deno.test("settings: undefined is not given", () => {
  const c = conf({ broker_url: undefined, task_acks_late: undefined });
  assert.ok(!c.isSet("broker_url"));
  assert.equal(c.task_acks_late, false);
});

Deno.test("settings: objects are each App's own", () => {
  const a = conf();
  const b = conf();
  a.beat_schedule.x = { task: "t", schedule: 1 };
  assert.deepEqual(Object.keys(a.beat_schedule), ["x"]);
  assert.deepEqual(b.beat_schedule, {});
});

Deno.test("settings: later sources win", () => {
  const env = { CELERY_BROKER_URL: "redis://env", CELERY_RESULT_BACKEND: "redis://env/1" };
  const c = conf({ broker_url: "redis://module", result_backend: "redis://module/1" }, env);
  assert.equal(c.broker_url, "redis://env");
  assert.equal(c.broker_read_url, "redis://env");
  assert.equal(c.result_backend, "redis://env/1");
  c.apply({ broker_url: "redis://config", task_serializer: "yaml" }, "config");
  assert.equal(c.broker_url, "redis://env");
  assert.equal(c.task_serializer, "yaml");
  c.task_serializer = "json";
  assert.equal(c.task_serializer, "yaml");
  c.apply({ broker_url: "redis://line" }, "command line");
  assert.equal(c.broker_url, "redis://line");
  assert.deepEqual(c.given(["config", "command line"]), {
    broker_url: "redis://line",
    task_serializer: "yaml",
  });
});

Deno.test("settings: texts of a command line are read by the setting's kind", () => {
  const c = conf();
  c.apply({
    worker_concurrency: "3",
    task_acks_late: "true",
    task_time_limit: "2.5",
    task_soft_time_limit: "none",
    accept_content: "json,yaml",
    broker_transport_options: '{"visibility_timeout": 7}',
    CELERYD_PREFETCH_MULTIPLIER: "9",
  }, "command line");
  assert.equal(c.worker_concurrency, 3);
  assert.equal(c.task_acks_late, true);
  assert.equal(c.task_time_limit, 2.5);
  assert.equal(c.task_soft_time_limit, null);
  assert.deepEqual(c.accept_content, ["json", "yaml"]);
  assert.deepEqual(c.broker_transport_options, { visibility_timeout: 7 });
  assert.equal(c.worker_prefetch_multiplier, 9);
  assert.throws(
    () => c.apply({ worker_concurrency: "many" }, "command line"),
    usage('worker_concurrency must be a whole number, at least 0 or null, not "many"'),
  );
});

Deno.test("settings: names of old", () => {
  const old: Record<string, string> = {
    CELERY_ACKS_LATE: "task_acks_late",
    CELERY_TASK_ACKS_LATE: "task_acks_late",
    CELERYD_CONCURRENCY: "worker_concurrency",
    CELERYD_TASK_TIME_LIMIT: "task_time_limit",
    CELERYBEAT_SCHEDULE: "beat_schedule",
    BROKER_URL: "broker_url",
    CELERY_BROKER_URL: "broker_url",
    CELERY_RESULT_BACKEND: "result_backend",
    CELERY_TASK_RESULT_EXPIRES: "result_expires",
    CELERY_DISABLE_RATE_LIMITS: "worker_disable_rate_limits",
    CELERY_QUEUES: "task_queues",
    CELERY_EAGER_PROPAGATES_EXCEPTIONS: "task_eager_propagates",
    CELERY_MESSAGE_COMPRESSION: "task_compression",
    CELERY_TIMEZONE: "timezone",
    CELERYD_WORKER_LOST_WAIT: "worker_lost_wait",
    CELERY_SEND_EVENTS: "worker_send_task_events",
  };
  for (const [name, now] of Object.entries(old)) assert.equal(settingName(name), now, name);
  assert.equal(settingName("celery_acks_late"), null);
  const c = conf({ CELERY_TASK_ALWAYS_EAGER: true });
  assert.equal(c.task_always_eager, true);
});

Deno.test("settings: Celery's settings that mean nothing here are taken and shown", () => {
  const given = { s3_bucket: "b", worker_hijack_root_logger: false };
  assert.deepEqual(conf(given).table(), given);
  for (const name of INERT_SETTINGS) assert.ok(!SETTINGS.has(name), name);
});

Deno.test("settings: the embedded broker is its own result store, others have none", () => {
  assert.equal(conf().result_backend, "sqlite://");
  assert.equal(conf({ broker_url: "sqlite:///tmp/x.db" }).result_backend, "sqlite:///tmp/x.db");
  assert.equal(conf({ broker_url: "redis://localhost" }).result_backend, null);
  assert.equal(conf({ broker_url: ["amqp://a", "amqp://b"] }).result_backend, null);
  assert.equal(conf({ result_backend: null }).result_backend, null);
});

Deno.test("settings: a plain Redis named on the command line keeps results, unless a store is named or refused", () => {
  const typed = (broker_url: string, settings: Parameters<typeof conf>[0] = {}) => {
    const c = conf(settings);
    c.apply({ broker_url }, "command line");
    return c.result_backend;
  };
  assert.equal(typed("redis://localhost/3"), "redis://localhost/3");
  assert.equal(typed("redis+socket:///run/redis.sock"), "redis+socket:///run/redis.sock");
  assert.equal(typed("valkey://localhost"), "valkey://localhost");
  // A store does not follow its broker to the next one.
  assert.equal(typed("redis://a;redis://b"), null);
  assert.equal(typed("redis://localhost", { result_backend: "rpc://" }), "rpc://");
  assert.equal(typed("redis://localhost", { result_backend: "disabled" }), "disabled");
  assert.equal(typed("redis://localhost", { result_backend: null }), null);
  // These want settings that a broker and a store have each their own of.
  for (const url of ["rediss://localhost", "sentinel://localhost", "amqp://localhost"]) {
    assert.equal(typed(url), null);
  }
});

Deno.test("settings: a broker in parts", () => {
  const c = conf({
    broker_transport: "redis",
    broker_host: "h",
    broker_port: 7,
    broker_password: "p/w",
    broker_vhost: "2",
  });
  assert.equal(c.broker_url, "redis://:p%2Fw@h:7/2");
});

Deno.test("settings: no secret is shown", () => {
  const c = conf({
    broker_url: "redis://:sesame@host/0;redis://u:sesame@other/0",
    result_backend: "redis://u:sesame@host/1",
    redis_password: "sesame",
    security_key: "/etc/key.pem",
    broker_transport_options: { sentinel_kwargs: { password: "sesame" }, global_keyprefix: "p:" },
    task_default_routing_key: "rk",
  });
  const shown = JSON.stringify(c.table({ withDefaults: true }));
  assert.ok(!shown.includes("sesame"), shown);
  assert.ok(shown.includes("redis://:**@host/0"));
  assert.ok(shown.includes('"task_default_routing_key":"rk"') && shown.includes('"global_keyprefix":"p:"'));
  assert.ok(c.table({ withDefaults: false })["task_serializer"] === undefined);
  assert.equal(c.table({ masked: false })["redis_password"], "sesame");
});

Deno.test("settings: a priority is a byte, as AMQP has it", () => {
  for (const name of ["task_default_priority", "task_queue_max_priority"]) {
    for (const value of [0, 255, null]) {
      assert.equal(conf({ [name]: value })[name as "task_default_priority"], value);
    }
    for (const value of [256, 300, -1, 1.5]) {
      assert.throws(
        () => conf({ [name]: value }),
        usage(`${name} must be a whole number from 0 to 255 or null, not ${value}`),
      );
    }
  }
});
