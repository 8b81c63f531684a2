// Goal: the table of Redis URLs says what kombu and Celery say, apart from what it names.
import assert from "node:assert/strict";
import { pythonPath } from "../support/servers.ts";
import { filePath } from "../../lib/base/mod.ts";
import { meaning, REDIS_URLS } from "../support/redis_urls.ts";

Deno.test("kombu and Celery take Redis URLs for what the table says", async () => {
  const child = new Deno.Command("/usr/bin/python3", {
    args: [filePath(new URL("./redis_urls.py", import.meta.url))],
    env: { PYTHONPATH: pythonPath() },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  const cases = REDIS_URLS.map(({ url, useSsl }) => [url, useSsl ?? false]);
  await writer.write(new TextEncoder().encode(JSON.stringify(cases)));
  await writer.close();
  const { stdout, stderr } = await child.output();
  const answers: { broker: unknown; results: unknown }[] = JSON.parse(
    new TextDecoder().decode(stdout) || assert.fail(new TextDecoder().decode(stderr)),
  );
  REDIS_URLS.forEach(({ url, apart, ...ours }, n) => {
    for (const kind of ["broker", "results"] as const) {
      const [expected, answer] = [ours[kind], answers[n]![kind]];
      const asOurs = typeof expected === "string" ? "refused" : meaning(expected);
      const asTheirs = typeof answer === "string" ? "refused" : answer;
      // What is named as different must be different: else the table would hide a rule.
      const says = `${url} as ${kind}: ${JSON.stringify(answer)}`;
      if (apart?.[kind] === undefined) assert.deepEqual(asTheirs, asOurs, says);
      // What the table names apart is 5.2.6's: other versions may have come round.
      else if (!Deno.env.get("CELERY_SRC")) assert.notDeepEqual(asTheirs, asOurs, says);
    }
  });
});
