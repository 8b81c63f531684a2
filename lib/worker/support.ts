/** What an App does for its worker: functions of app, event and pool that take the whole App. */

import { type App, appSource, canvasSender, completeChords, failTask, finishDoneBefore } from "../app/mod.ts";
import { Signature } from "../canvas/mod.ts";
import { EventDispatcher, eventQueue, EventReader } from "../event/mod.ts";
import { mailboxSettings } from "../mailbox/mod.ts";
import { soloPool } from "../pool/mod.ts";
import type { WorkerSupport } from "./worker_app.ts";

/** Returns the support of `app`. */
export function supportOf(app: App): WorkerSupport {
  return {
    failTask: (message, error, kind) => failTask(app, message, error, kind),
    completeChords: (backend, parts, onDone) => completeChords(app, backend, parts, onDone),
    finishDoneBefore: (backend, message, meta) => finishDoneBefore(app, backend, message, meta),
    dispatcher: (options) => new EventDispatcher(app, options),
    eventReader: () => new EventReader(app),
    eventQueue: (transport, options) => eventQueue(app, transport, options),
    mailbox: mailboxSettings(app.conf),
    sendSignature: async (wire) => {
      await Signature.fromWire(wire, canvasSender(app)).applyAsync();
    },
    solo: soloPool(app),
    app,
    source: appSource(app),
  };
}
