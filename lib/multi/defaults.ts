/** Where nodes keep their pid and log files when nobody says: the system's folders, else the user's. */

import { embeddedHome, type Host } from "../base/mod.ts";
import { isWritableFolder } from "../platform/mod.ts";

/** Celery's folders. Source: celery 5.2.6 apps/multi.py Node. */
const SYSTEM = { pidfile: "/var/run/celery", logfile: "/var/log/celery" };

/**
 * The pid and log file of a node, each with `%n`: Celery's own folders where they can be written, else `run` and `log`
 * in the user's state folder. Nothing is made.
 */
export function defaultFiles(host: Host): { pidfile: string; logfile: string } {
  const folder = (kind: "pidfile" | "logfile", name: string) =>
    isWritableFolder(SYSTEM[kind]) ? SYSTEM[kind] : `${embeddedHome(host).replaceAll("%", "%%")}/${name}`;
  return { pidfile: `${folder("pidfile", "run")}/%n.pid`, logfile: `${folder("logfile", "log")}/%n%I.log` };
}
