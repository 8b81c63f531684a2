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

Deno.test("upgrade settings: mode, links and every other byte stay, in the file and in its copy", async () => {
  await using folder = await disposableFolder();
  const [path, link] = [`${folder.path}/conf.py`, `${folder.path}/link.py`];
  const latin = (text: string) => Uint8Array.from(text, (one) => one.charCodeAt(0));
  const old = latin(
    '# -*- coding: latin-1 -*-\r\nCELERY_ACKS_LATE = True\r\nOWNER = "J\u00f6rg \u0080\u009f\u00ff"\r\n',
  );
  await Deno.writeFile(path, old);
  await Deno.chmod(path, 0o600);
  await Deno.symlink("conf.py", link);
  const checked = await lovage(["upgrade", "settings", "--check", link]);
  assert.deepEqual([checked.code, await Deno.readFile(path)], [64, old]);
  assert.equal((await lovage(["upgrade", "settings", link])).code, 0);
  const text = new TextDecoder("latin1").decode(old);
  const today = new TextDecoder("latin1").decode(await Deno.readFile(path));
  assert.equal(today, text.replace("CELERY_ACKS_LATE", "task_acks_late"));
  assert.deepEqual(await Deno.readFile(`${path}.orig`), old);
  for (const one of [path, `${path}.orig`]) assert.equal((await Deno.stat(one)).mode! & 0o777, 0o600);
  assert.equal(await Deno.readLink(link), "conf.py");
  const { code, err } = await lovage(["upgrade", "settings", folder.path]);
  assert.deepEqual([code, err.trim()], [64, `Error: Cannot upgrade "${folder.path}": it is a folder`]);
});
