// Goal: the table of Redis URLs says what kombu and Celery say, apart from what it names.
import assert from "node:assert/strict";
import { askPython } from "../support/servers.ts";
import { filePath } from "../../lib/base/mod.ts";
import { meaning, REDIS_URLS } from "../support/redis_urls.ts";

Deno.test("kombu and Celery take Redis URLs for what the table says", async () => {
  const cases = REDIS_URLS.map(({ url, useSsl }) => [url, useSsl ?? false]);
  const script = filePath(new URL("./redis_urls.py", import.meta.url));
  const answers: { broker: unknown; results: unknown }[] = await askPython([script], cases);
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
