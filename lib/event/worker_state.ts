/** What is known of a worker from its events. Source: celery 5.2.6 events/state.py Worker. */

import type { ReceivedEvent } from "./event.ts";
import { integer, shortText } from "./fields.ts";

/** A worker is alive for this part of its heartbeat's period after the last one. Source: HEARTBEAT_EXPIRE_WINDOW. */
const HEARTBEAT_WINDOW = 2;
/** Seconds between a worker's clock and ours that are worth a warning. Source: HEARTBEAT_DRIFT_MAX. */
export const DRIFT_MAX_SECONDS = 16;
/** Heartbeats remembered. */
const HEARTBEATS_MAX = 4;
/** A worker that never told its period. */
const FREQ_DEFAULT = 60;

/** A worker. Times are epoch seconds; what it has not told is null. */
export class WorkerState {
  readonly hostname: string;
  pid: number | null = null;
  /** Seconds between its heartbeats. Default 60 until it says. */
  freq: number = FREQ_DEFAULT;
  /** When the last ones came, oldest first. */
  heartbeats: number[] = [];
  clock = 0;
  /** Tasks that run. */
  active: number | null = null;
  /** Tasks begun since its start. */
  processed: number | null = null;
  loadavg: number[] | null = null;
  /** Name, version and system of its program. */
  swIdent: string | null = null;
  swVer: string | null = null;
  swSys: string | null = null;
  /** Its clock and ours differed too much, and that was told. */
  isDriftTold = false;
  readonly #nowSeconds: () => number;

  constructor(hostname: string, nowSeconds: () => number) {
    this.hostname = hostname;
    this.#nowSeconds = nowSeconds;
  }

  /** `name@host.pid`. */
  get id(): string {
    return `${this.hostname}.${this.pid ?? "None"}`;
  }

  /** When it counts as gone unless it is heard of again; -Infinity where it said goodbye or was never heard. */
  get heartbeatExpires(): number {
    const last = this.heartbeats.at(-1);
    return last === undefined ? -Infinity : last + this.freq * HEARTBEAT_WINDOW;
  }

  /** Whether it was heard of within two periods. */
  get alive(): boolean {
    return this.#nowSeconds() < this.heartbeatExpires;
  }

  /** "ONLINE" or "OFFLINE". */
  get statusString(): "ONLINE" | "OFFLINE" {
    return this.alive ? "ONLINE" : "OFFLINE";
  }

  /** Takes in a worker event; `subject` is what follows "worker-". */
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

  /** It was heard of. */
  beat(atSeconds: number): void {
    this.heartbeats.push(atSeconds);
    const { length } = this.heartbeats;
    if (length > 1 && atSeconds < this.heartbeats[length - 2]!) this.heartbeats.sort((a, b) => a - b);
    if (length > HEARTBEATS_MAX) this.heartbeats.shift();
  }
}
