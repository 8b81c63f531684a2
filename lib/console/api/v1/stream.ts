/**
 * /api/v1/stream: changes as server-sent events. A frame is made once for all browsers that follow its topic.
 * A topic has at most four frames a second: tasks when they are written, other topics at their own intervals.
 *
 * A frame's id consists of a random id of this server process and a number. A browser that reconnects with an
 * id gets the frames since then, or "resync" if they are no longer kept.
 */

import { errorText, OperatingError } from "../../../base/mod.ts";
import { overviewOf, WINDOW_DEFAULT } from "../../cluster/overview.ts";
import { taskRow, taskView } from "../../cluster/tasks.ts";
import { workerRows, workerView } from "../../cluster/workers.ts";
import type { CompiledSearch } from "../../history/history.ts";
import { SearchError } from "../../history/search.ts";
import type { TaskRecord } from "../../history/record.ts";
import { type Frame, STREAM_TOPICS } from "./schema.ts";
import { webJson } from "../json.ts";
import { type Ctx, mustBeAllowed, type Parts, Refused } from "../request.ts";

/** Interval between two checks for due topics. */
const TICK_MS = 250;
/** Interval between two frames of a topic, by kind. */
const EVERY_MS = {
  overview: 1000,
  workers: 1000,
  queues: 2000,
  worker: 2000,
  task: 500,
  tasks: TICK_MS,
} as const;
const PING_MS = 5000;
/** Maximum number of rows in a frame of tasks. */
const ROWS_MAX = 100;
/** Frames kept for browsers that reconnect. */
const KEPT = 400;
const CLIENTS_MAX = 200;
const TOPICS_MAX = 20;
/** Frames that a slow browser may lag behind; beyond this it gets "resync". */
const LAG_MAX = 100;

type Kind = keyof typeof EVERY_MS;

interface Topic {
  readonly name: string;
  readonly kind: Kind;
  /** The id of a task or the name of a worker. */
  readonly subject: string;
  readonly window: number;
  readonly search: CompiledSearch | null;
  users: number;
  dueMs: number;
  isBusy: boolean;
  /** Numbers of tasks that changed since the last frame; for a topic "task", just 1. */
  changed: Set<number>;
}

interface Client {
  readonly topics: readonly Topic[];
  readonly controller: ReadableStreamDefaultController<Uint8Array>;
  isLagging: boolean;
}

interface Kept {
  readonly number: number;
  readonly topic: string;
  readonly text: string;
}

/** Serves the stream to all browsers. */
export class Streams {
  readonly #parts: Parts;
  readonly #topics = new Map<string, Topic>();
  readonly #clients = new Set<Client>();
  readonly #epoch: string;
  #kept: Kept[] = [];
  #number = 0;
  #disarm: (() => void) | null = null;
  #pingMs = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#epoch = parts.cluster.world.random.u32().toString(36);
    parts.cluster.history.onWritten = (records) => this.#onWritten(records);
  }

  /** Answers a request for the stream. Throws Refused. */
  open(c: Ctx): Response {
    mustBeAllowed(c, this.#parts.access, "read");
    if (this.#clients.size >= CLIENTS_MAX) throw new Refused(503, "Too many pages are open");
    const names = (c.req.query("topics") ?? STREAM_TOPICS).split(",").filter(Boolean).map(decoded);
    if (names.length === 0 || names.length > TOPICS_MAX) {
      throw new Refused(400, `Cannot follow ${names.length} topics: from 1 to ${TOPICS_MAX} are possible`);
    }
    const topics = [...new Set(names)].map((name) => this.#topics.get(name) ?? this.#topicOf(name));
    const since = c.req.header("last-event-id") ?? null;
    let client: Client | null = null;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        client = { topics, controller, isLagging: false };
        this.#join(client, since);
      },
      cancel: () => client === null ? undefined : this.#leave(client),
    }, { highWaterMark: LAG_MAX });
    return new Response(body, {
      headers: {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-store",
        // Tells nginx not to buffer the stream.
        "x-accel-buffering": "no",
      },
    });
  }

  /** Ends every stream. */
  close(): void {
    this.#disarm?.();
    this.#disarm = null;
    for (const client of [...this.#clients]) {
      this.#leave(client);
      client.controller.close();
    }
  }

  #join(client: Client, since: string | null): void {
    this.#clients.add(client);
    for (const topic of client.topics) {
      topic.users++;
      this.#topics.set(topic.name, topic);
      topic.dueMs = 0;
    }
    const number = since === null ? null : this.#numberOf(since);
    send(client, "retry: 2000\n\n");
    if (since !== null && number === null) {
      for (const { name } of client.topics) {
        send(client, this.#text({ kind: "resync", topic: name, data: null }));
      }
    } else if (number !== null) {
      const names = new Set(client.topics.map(({ name }) => name));
      for (const one of this.#kept) if (one.number > number && names.has(one.topic)) send(client, one.text);
    }
    this.#tick();
  }

  #leave(client: Client): void {
    if (!this.#clients.delete(client)) return;
    for (const topic of client.topics) if (--topic.users === 0) this.#topics.delete(topic.name);
  }

  /** Returns the number of a frame's id if all later frames are kept; null otherwise. */
  #numberOf(id: string): number | null {
    const [epoch, text] = id.split("-");
    const number = Number(text);
    if (epoch !== this.#epoch || !Number.isInteger(number) || number > this.#number) return null;
    const first = this.#kept[0]?.number ?? this.#number + 1;
    return number + 1 >= first ? number : null;
  }

  #topicOf(name: string): Topic {
    const [head = "", query = ""] = name.split(/\?(.*)/s);
    const colon = head.indexOf(":");
    const kind = colon < 0 ? head : head.slice(0, colon);
    const parameters = new URLSearchParams(query);
    const subject = colon < 0 ? "" : head.slice(colon + 1);
    const isKnown = Object.hasOwn(EVERY_MS, kind) &&
      (kind === "task" || kind === "worker") === (subject !== "");
    if (!isKnown) throw new Refused(400, `There is no topic "${name}"`);
    try {
      const window = Number(parameters.get("window") ?? WINDOW_DEFAULT);
      return {
        name,
        kind: kind as Kind,
        subject,
        window: Number.isInteger(window) && window > 0 ? Math.min(window, 30 * 86_400) : WINDOW_DEFAULT,
        search: kind === "tasks" ? this.#parts.cluster.history.compile(parameters.get("search") ?? "") : null,
        users: 0,
        dueMs: 0,
        isBusy: false,
        changed: new Set(),
      };
    } catch (error) {
      if (error instanceof SearchError) throw new Refused(400, error.message);
      throw error;
    }
  }

  #onWritten(records: readonly TaskRecord[]): void {
    for (const topic of this.#topics.values()) {
      if (topic.kind === "tasks") {
        for (const { seq } of records) topic.changed.add(seq);
        // A page shows only the newest.
        if (topic.changed.size > 5000) topic.changed = new Set([...topic.changed].slice(-5000));
      } else if (topic.kind === "task") {
        for (const { id, state } of records) {
          if (id === topic.subject || state.parentId === topic.subject) topic.changed.add(1);
        }
      }
    }
  }

  /** Makes the frames of due topics, and re-arms itself while there are clients. */
  #tick(): void {
    this.#disarm?.();
    this.#disarm = null;
    if (this.#clients.size === 0) return;
    const { clock } = this.#parts.cluster.world;
    const nowMs = clock.monoMs();
    for (const topic of this.#topics.values()) {
      const isFirst = topic.dueMs === 0;
      if (topic.isBusy || nowMs < topic.dueMs) continue;
      if ((topic.kind === "tasks" || topic.kind === "task" && !isFirst) && topic.changed.size === 0) continue;
      topic.dueMs = nowMs + EVERY_MS[topic.kind];
      topic.isBusy = true;
      void this.#make(topic).finally(() => topic.isBusy = false);
    }
    if (nowMs >= this.#pingMs) {
      this.#pingMs = nowMs + PING_MS;
      this.#send({ kind: "ping", topic: "", data: { now: clock.wallMs() / 1000 } });
    }
    this.#disarm = clock.arm(nowMs + TICK_MS, () => this.#tick());
  }

  async #make(topic: Topic): Promise<void> {
    try {
      const frame = await this.#frame(topic);
      if (frame !== null) this.#send(frame);
    } catch (error) {
      // The broker is away; the page's own requests report that.
      if (!(error instanceof OperatingError)) {
        this.#parts.cluster.world.log.error(`Cannot make a frame of ${topic.kind}: ${errorText(error)}`);
      }
    }
  }

  async #frame({ kind, name: topic, subject, window, search, changed }: Topic): Promise<Frame | null> {
    const { cluster, inspector, queues } = this.#parts;
    switch (kind) {
      case "overview":
        queues.list().catch(() => {});
        return { kind, topic, data: overviewOf(cluster, { inspector, queues, window }) };
      case "workers":
        return { kind, topic, data: { rows: workerRows(cluster, inspector) } };
      case "queues":
        return { kind, topic, data: await queues.list() };
      case "worker": {
        const data = await workerView(cluster, inspector, subject);
        return data === null ? null : { kind, topic, data };
      }
      case "task": {
        changed.clear();
        const data = await taskView(cluster, subject);
        return data === null ? null : { kind, topic, data };
      }
      case "tasks": {
        const { tasks } = cluster.history;
        const found = tasks.among(search!, [...changed]).sort((a, b) => b - a);
        changed.clear();
        if (found.length === 0) return null;
        const rows = tasks.rows(found.slice(0, ROWS_MAX)).map(taskRow);
        return { kind, topic, data: { rows, changed: found.length } };
      }
    }
  }

  #send(frame: Frame): void {
    const text = this.#text(frame);
    if (frame.kind !== "ping") {
      this.#kept.push({ number: this.#number, topic: frame.topic, text });
      if (this.#kept.length > KEPT) this.#kept = this.#kept.slice(-KEPT / 2);
    }
    for (const client of this.#clients) {
      if (frame.kind !== "ping" && !client.topics.some(({ name }) => name === frame.topic)) continue;
      // A browser that lags gets no more frames until it has read those sent; then "resync" for each topic.
      if ((client.controller.desiredSize ?? 0) <= 1) {
        client.isLagging = true;
        continue;
      }
      if (client.isLagging) {
        client.isLagging = false;
        for (const { name } of client.topics) {
          send(client, this.#text({ kind: "resync", topic: name, data: null }));
        }
      }
      send(client, text);
    }
  }

  #text(frame: Frame): string {
    return `id: ${this.#epoch}-${++this.#number}\nevent: ${frame.kind}\ndata: ${webJson(frame)}\n\n`;
  }
}

function send({ controller }: Client, text: string): void {
  controller.enqueue(new TextEncoder().encode(text));
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Refused(400, `Cannot read the topic "${text}": invalid % escape`);
  }
}
