/** What an App does for its worker: the functions of app/ and pool/ that take the whole App. */

import { type App, appSource, completeChord, failTask } from "../app/mod.ts";
import { soloPool } from "../pool/mod.ts";
import type { WorkerSupport } from "./worker_app.ts";

/** The support that `app` gives. */
export function supportOf(app: App): WorkerSupport {
  return {
    failTask: (message, error, kind) => failTask(app, message, error, kind),
    completeChord: (backend, part) => completeChord(app, backend, part),
    solo: soloPool(app),
    source: appSource(app),
  };
}
