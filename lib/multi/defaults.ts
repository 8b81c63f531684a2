/** Default folders of pid and log files: the system's, else the user's. */

import { embeddedHome, type Host } from "../base/mod.ts";
import { isWritableFolder } from "../platform/mod.ts";

/** Celery's folders. Source: celery 5.2.6 apps/multi.py Node. */
const SYSTEM = { pidfile: "/var/run/celery", logfile: "/var/log/celery" };

/**
 * Returns the pid and log file of a node, each with `%n`: in Celery's folders if they can be written, else in
 * `run` and `log` of the user's state folder. Creates nothing.
 */
export function defaultFiles(host: Host): { pidfile: string; logfile: string } {
  const folder = (kind: "pidfile" | "logfile", name: string) =>
    isWritableFolder(SYSTEM[kind]) ? SYSTEM[kind] : `${embeddedHome(host).replaceAll("%", "%%")}/${name}`;
  return { pidfile: `${folder("pidfile", "run")}/%n.pid`, logfile: `${folder("logfile", "log")}/%n%I.log` };
}
