/**
 * What the settings of a module say of daemons (`worker_*`, `beat_*`, `events_*`): files, mask, user. An option wins.
 */

import assert from "node:assert/strict";
import { environment, LOVAGE, lovage, type Place, Program, startWorker } from "../support/programs.ts";
import { eventually } from "../support/ports.ts";
import { disposableFolder, exists } from "../support/temporary.ts";

const modeOf = (path: string) => Deno.statSync(path).mode! & 0o777;

function moduleOf(settings: Record<string, unknown>): string {
  return `import { App } from "lovage";
export const app = new App("daemons", ${JSON.stringify(settings)});
app.task("d.who", () => [Deno.uid(), Deno.umask()]);
`;
}

async function within(
  run: (at: { folder: string; app: string; place: Place }) => Promise<void>,
): Promise<void> {
  await using folder = await disposableFolder();
  Deno.chmodSync(folder.path, 0o777);
  const place: Place = { env: { LOVAGE_HOME: folder.path } };
  await run({ folder: folder.path, app: `${folder.path}/app.ts`, place });
}

Deno.test("beat_logfile, beat_pidfile and beat_umask do what they say", async () => {
  await within(async ({ folder, app, place }) => {
    const settings = {
      beat_logfile: `${folder}/beat.log`,
      beat_pidfile: `${folder}/beat.pid`,
      beat_umask: "027",
      beat_schedule_filename: `${folder}/schedule`,
    };
    await Deno.writeTextFile(app, moduleOf(settings));
    const argv = (...more: string[]) => [...LOVAGE, "-A", app, "beat", "-l", "INFO", ...more];
    {
      await using beat = new Program(argv(), environment(place));
      await eventually(() => exists(settings.beat_pidfile), () => `a pid file: ${beat.text}`);
      assert.equal(Deno.readTextFileSync(settings.beat_pidfile), `${beat.pid}\n`);
      await eventually(
        () => /beat: Starting/.test(Deno.readTextFileSync(settings.beat_logfile)),
        () => `the log: ${beat.text}`,
      );
      assert.equal(modeOf(settings.beat_logfile), 0o640);
      await beat.says(/\. logfile -> .*beat\.log@%INFO/);
    }
    assert.ok(!exists(settings.beat_pidfile));
    // An option wins, and a mask that is none is one line.
    await using other = new Program(argv("-f", `${folder}/other.log`, "--umask", "077"), environment(place));
    await eventually(() => exists(`${folder}/other.log`), () => `a log: ${other.text}`);
    assert.equal(modeOf(`${folder}/other.log`), 0o600);
    await other.stop();
    await Deno.writeTextFile(app, moduleOf({ beat_umask: "9" }));
    const refused = await lovage(["-A", app, "beat"], place);
    assert.deepEqual([refused.code, refused.err.trim()], [
      64,
      "Error: Cannot read the setting beat_umask 9: give it in octal, such as 022",
    ]);
  });
});

Deno.test("events --dump writes where events_logfile says, in the background too", async () => {
  await within(async ({ folder, app, place }) => {
    const settings = { events_logfile: `${folder}/events.log`, events_pidfile: `${folder}/events.pid` };
    await Deno.writeTextFile(
      app,
      moduleOf({ ...settings, events_umask: 0o77, worker_send_task_events: true }),
    );
    const log = () => Deno.readTextFileSync(settings.events_logfile);
    const started = await lovage(["-A", app, "events", "--json", "--detach"], place);
    assert.deepEqual([started.code, started.out, started.err], [0, "", ""]);
    const pid = Number(Deno.readTextFileSync(settings.events_pidfile));
    try {
      await using worker = await startWorker(place, ["-P", "solo"], { app });
      await lovage(["-A", app, "call", "d.who"], place);
      await eventually(
        () => /"type":\s?"task-succeeded"/.test(log()),
        () => `an event: ${log()}${worker.text}`,
      );
      for (const line of log().trim().split("\n")) JSON.parse(line);
      assert.equal(modeOf(settings.events_logfile), 0o600);
    } finally {
      Deno.kill(pid, "SIGTERM");
      await eventually(() => !exists(settings.events_pidfile), "the pid file goes with it");
    }
    await Deno.writeTextFile(app, moduleOf({}));
    const nowhere = await lovage(["-A", app, "events", "--dump", "--detach"], place);
    assert.equal(nowhere.code, 64);
    assert.match(
      nowhere.err,
      /Cannot write events in the background: name a file, --logfile or events_logfile/,
    );
    const live = await lovage(["-A", app, "events", "--detach"], place);
    assert.match(live.err, /Cannot show the live view in the background: use --dump or --json/);
  });
});

Deno.test({
  name: "worker_uid and worker_umask hold for a worker and its pool",
  ignore: Deno.uid() !== 0,
  fn: () =>
    within(async ({ folder, app, place }) => {
      const who = {
        worker_uid: "nobody",
        worker_umask: "077",
        beat_uid: "nobody",
        beat_pidfile: `${folder}/pid`,
      };
      await Deno.writeTextFile(app, moduleOf({ ...who, worker_pidfile: `${folder}/w.pid` }));
      // Another user has no cache of compiled code: it compiles the whole program.
      await using worker = await startWorker(place, ["-P", "processes", "-c", "1"], { app, isReady: false });
      await worker.says(/ ready\./, 120_000);
      assert.equal(Deno.statSync(`/proc/${worker.pid}`).uid, nobody());
      assert.equal(modeOf(`${folder}/w.pid`), 0o600);
      const id = (await lovage(["-A", app, "call", "d.who"], place)).out.trim();
      await worker.says(new RegExp(`\\[${id}\\] succeeded in .*: \\[${nobody()}, 63\\]`));
    }),
});

function nobody(): number {
  const line = Deno.readTextFileSync("/etc/passwd").split("\n").find((one) => one.startsWith("nobody:"))!;
  return Number(line.split(":")[2]);
}
