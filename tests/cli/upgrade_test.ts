/** `lovage upgrade settings` from outside, beside Celery's own command where both say the same. */

import assert from "node:assert/strict";
import { environment, lovage } from "../support/programs.ts";
import { requirePython } from "../support/servers.ts";
import { disposableFolder } from "../support/temporary.ts";
import { mustRun } from "../support/run.ts";

const OLD = `BROKER_URL = "redis://localhost/0"
CELERY_RESULT_BACKEND = "redis://localhost/1"
CELERYD_CONCURRENCY = 4
CELERY_ACKS_LATE = True
CELERYBEAT_SCHEDULE = {}
TIME_ZONE = "UTC"
`;

Deno.test("upgrade settings: a Python file becomes what Celery's own command makes of it", async () => {
  const { celery } = await requirePython();
  await using folder = await disposableFolder();
  for (const words of [[], ["--django"], ["--compat", "--no-backup"]]) {
    const [ours, theirs] = [`${folder.path}/ours.py`, `${folder.path}/theirs.py`];
    for (const path of [ours, theirs]) await Deno.writeTextFile(path, OLD);
    const done = await lovage(["upgrade", "settings", ours, ...words]);
    assert.deepEqual([done.code, done.out], [0, "Changes to your setting have been made!\n"]);
    await mustRun([...celery, "upgrade", "settings", theirs, ...words], { env: environment({}) });
    assert.equal(await Deno.readTextFile(ours), await Deno.readTextFile(theirs));
    const hasBackup = !words.includes("--no-backup");
    assert.match(done.err, hasBackup ? /writing backup to .*ours\.py\.orig/ : /^processing .*\n$/);
    if (hasBackup) assert.equal(await Deno.readTextFile(`${ours}.orig`), OLD);
    const again = await lovage(["upgrade", "settings", ours, ...words]);
    if (words.length === 0) assert.equal(again.out, "Does not seem to require any changes :-)\n");
  }
  const missing = await lovage(["upgrade", "settings", `${folder.path}/none.py`]);
  assert.deepEqual([missing.code, missing.err.trim()], [
    64,
    `Error: Cannot upgrade "${folder.path}/none.py": there is no such file`,
  ]);
  assert.match((await lovage(["upgrade", "setings"])).err, /did you mean "settings"\?/);
});
