/**
 * A worker as its events describe it.
 *
 * Source: celery 5.2.6 events/state.py Worker.
 */

import type { ReceivedEvent } from "./event.ts";
import { integer, shortText } from "./fields.ts";

/**
 * Heartbeat intervals after the last heartbeat for which a worker counts as alive. Source:
 * HEARTBEAT_EXPIRE_WINDOW.
 */
const HEARTBEAT_WINDOW = 2;
/** Seconds between a worker's clock and ours that are logged. Source: HEARTBEAT_DRIFT_MAX. */
export const DRIFT_MAX_SECONDS = 16;
/** Number of heartbeats remembered. */
const HEARTBEATS_MAX = 4;
/** Interval of a worker that has not sent one, seconds. */
const FREQ_DEFAULT = 60;

/** A worker. Times are epoch seconds; a field that no event has given is null. */
export class WorkerState {
  readonly hostname: string;
  pid: number | null = null;
  /** Seconds between its heartbeats. 60 until it sends the field. */
  freq: number = FREQ_DEFAULT;
  /** Times of the last heartbeats, oldest first. */
  heartbeats: number[] = [];
  clock = 0;
  /** Number of running tasks. */
  active: number | null = null;
  /** Number of tasks begun since its start. */
  processed: number | null = null;
  loadavg: number[] | null = null;
  /** Name, version and system of its program. */
  swIdent: string | null = null;
  swVer: string | null = null;
  swSys: string | null = null;
  /** True once a difference between its clock and ours was logged. */
  isDriftLogged = false;
  readonly #nowSeconds: () => number;

  constructor(hostname: string, nowSeconds: () => number) {
    this.hostname = hostname;
    this.#nowSeconds = nowSeconds;
  }

  /** `name@host.pid`. */
  get id(): string {
    return `${this.hostname}.${this.pid ?? "None"}`;
  }

  /** When it counts as gone unless it sends again; -Infinity if it went offline or never sent. */
  get heartbeatExpires(): number {
    const last = this.heartbeats.at(-1);
    return last === undefined ? -Infinity : last + this.freq * HEARTBEAT_WINDOW;
  }

  /** Whether it has sent within two heartbeat intervals. */
  get alive(): boolean {
    return this.#nowSeconds() < this.heartbeatExpires;
  }

  /** "ONLINE" or "OFFLINE". */
  get statusString(): "ONLINE" | "OFFLINE" {
    return this.alive ? "ONLINE" : "OFFLINE";
  }

  /** Records a worker event; `subject` is the type without "worker-". */
  event(subject: string, event: ReceivedEvent): void {
    this.pid = integer(event.pid) ?? this.pid;
    this.clock = integer(event.clock) ?? this.clock;
    if (typeof event["freq"] === "number" && event["freq"] > 0) this.freq = event["freq"];
    this.active = integer(event["active"]) ?? this.active;
    this.processed = integer(event["processed"]) ?? this.processed;
    const load = event["loadavg"];
    if (Array.isArray(load)) this.loadavg = load.slice(0, 3).map((one) => Number(one) || 0);
    this.swIdent = shortText(event["sw_ident"]) ?? this.swIdent;
    this.swVer = shortText(event["sw_ver"]) ?? this.swVer;
    this.swSys = shortText(event["sw_sys"]) ?? this.swSys;
    if (subject === "offline") this.heartbeats = [];
    else this.beat(event.local_received);
  }

  /** Records that the worker has sent something. */
  beat(atSeconds: number): void {
    this.heartbeats.push(atSeconds);
    const { length } = this.heartbeats;
    if (length > 1 && atSeconds < this.heartbeats[length - 2]!) this.heartbeats.sort((a, b) => a - b);
    if (length > HEARTBEATS_MAX) this.heartbeats.shift();
  }
}
