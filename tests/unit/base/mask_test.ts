import assert from "node:assert/strict";
import fc from "fast-check";
import { maskedPart, maskUrl, maskUrls } from "../../../lib/base/mod.ts";
import { cpuMsOf } from "../../support/cpu_time.ts";

Deno.test("maskUrl: passwords become **, everything else stays", () => {
  const cases: [string, string][] = [
    ["redis://localhost:6379/0", "redis://localhost:6379/0"],
    ["redis://:secret@localhost:6379/0", "redis://:**@localhost:6379/0"],
    ["amqp://guest:guest@h//", "amqp://guest:**@h//"],
    ["amqp://user@h/v", "amqp://user@h/v"],
    ["redis://:p@ss:w/rd@h/1", "redis://:**@h/1"],
    ["redis://u:a#b?c@h/1", "redis://u:**@h/1"],
    ["redis://h:6379/0?name=a@b", "redis://h:6379/0?name=a@b"],
    ["redis://user:6379?name=pass@h:6379/0", "redis://user:**@h:6379/0"],
    ["redis://user:6379/x?name=pass@h/0", "redis://user:**@h/0"],
    ["redis://h/0?password=x&db=1", "redis://h/0?password=**&db=1"],
    ["sentinel://:a@h1:1/0;sentinel://:b@h2:2/0", "sentinel://:**@h1:1/0;sentinel://:**@h2:2/0"],
    ["sqlite:///a/b.db", "sqlite:///a/b.db"],
    ["memory://", "memory://"],
    ["redis", "redis"],
    ["rediss//user:S3CRET@h/0", "rediss//user:**@h/0"],
    ["redis:/user:S3CRET@h/0", "redis:/user:**@h/0"],
    ["user:S3CRET@h", "user:**@h"],
    ["redis:S3CRET@h", "redis:**@h"],
    ["w1@host", "w1@host"],
    ["", ""],
    ["redis://[::1]:6379/0", "redis://[::1]:6379/0"],
    ["redis://:x@[::1]:6379/0", "redis://:**@[::1]:6379/0"],
  ];
  for (const [url, masked] of cases) assert.equal(maskUrl(url), masked, url);
});

Deno.test("maskUrl: no password gets through, whatever it is made of", () => {
  const password = fc.string({ minLength: 6, unit: fc.constantFrom(..."aZ9@:/?#%&=+ü ") })
    .filter((text) => /[aZ9]{2}/.test(text));
  fc.assert(
    fc.property(password, (secret) => {
      const masked = maskUrl(`redis://user:${secret}@host.example:6379/0`);
      assert.ok(!masked.includes(secret), masked);
      assert.ok(masked.startsWith("redis://user:**@"), masked);
    }),
    { numRuns: 2000 },
  );
});

Deno.test("maskUrls: every URL of a text; maskedPart: a part only where the masked URL has it", () => {
  assert.equal(
    maskUrls('from "redis://:a@h/0" to amqp://u:b@h//, or not'),
    'from "redis://:**@h/0" to amqp://u:**@h//, or not',
  );
  assert.equal(maskUrls("--broker=redis://:a@h/0"), "--broker=redis://:**@h/0");
  assert.equal(maskUrls("no ./redis:/:a@h.ts, file:/x/y.ts"), "no ./redis:/:**@h.ts, file:/x/y.ts");
  assert.equal(maskedPart("redis://user:S3CRET/more@h:1/0", "user:S3CRET"), '"**"');
  assert.equal(maskedPart("redis://h:x/0", "h:x"), '"h:x"');
});

Deno.test("maskUrls: text from outside takes no longer than its length", () => {
  const texts = [
    "a".repeat(300_000) + "://",
    `x://${"h,".repeat(100_000)}:x`,
    `x://h?${"abc&".repeat(100_000)}@`,
    "x://".repeat(50_000),
  ];
  for (const text of texts) {
    const tookMs = cpuMsOf(() => maskUrls(text));
    assert.ok(tookMs < 1000, `${text.slice(0, 10)}: ${tookMs} ms`);
  }
});
