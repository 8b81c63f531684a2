/**
 * Keeps a page up to date: by the server's stream, whose frames carry whole answers; and by polling every few
 * seconds for data without a topic, or if the stream does not work. A switch pauses both.
 */

import { effect, type Signal, signal } from "@preact/signals";
import type { Frame } from "../api/v1/schema.ts";
import { after, every, now, setTime, time } from "./clock.ts";
import { prefix } from "./place.ts";
import { load, put } from "./store.ts";

/** True while the page is kept up to date. */
export const isLive: Signal<boolean> = signal(true);

/** How the page is kept up to date. */
export const how: Signal<"stream" | "polling" | "starting"> = signal("starting");

const TICK_MS = 1000;
const POLL_MS = 4000;
/** Minimum interval between two fetches of a list of tasks, however many tasks change. */
const LIST_MS = 1000;
/** Without a frame for so long, something between browser and server holds the stream back. */
const SILENCE_SECONDS = 8;

/** Keeps the paths that `wanted` returns up to date until the page is closed. */
export function follow(wanted: () => readonly string[]): void {
  let paths: readonly string[] = [];
  let source: EventSource | null = null;
  let heardAt = 0;
  const asking = new Map<string, "soon" | "now" | "again">();

  const soon = (path: string) => {
    const state = asking.get(path);
    // A change during a fetch may be missing from its answer, so fetch again.
    if (state !== undefined) {
      if (state === "now") asking.set(path, "again");
      return;
    }
    asking.set(path, "soon");
    after(LIST_MS, async () => {
      asking.set(path, "now");
      await load(path);
      const isAgain = asking.get(path) === "again";
      asking.delete(path);
      if (isAgain) soon(path);
    });
  };
  const hear = ({ data }: MessageEvent<string>) => {
    const frame = JSON.parse(data) as Frame;
    if (frame.kind === "ping") setTime(frame.data.now);
    heardAt = time();
    how.value = "stream";
    for (const path of paths) {
      if (frame.kind === "ping" || topicOf(path) !== frame.topic) continue;
      if (frame.kind === "tasks" || frame.kind === "resync") soon(path);
      else put(path, frame.data);
    }
  };
  const open = () => {
    source?.close();
    source = null;
    const topics = paths.map(topicOf).filter((topic) => topic !== null);
    if (topics.length === 0 || !isLive.value) return;
    heardAt = time();
    source = new EventSource(
      `${prefix.value}/api/v1/stream?topics=${encodeURIComponent(topics.map(encodeURIComponent).join(","))}`,
    );
    // Fetches changes between the answer shown and the beginning of the stream.
    source.onopen = () => paths.filter((path) => path.startsWith("tasks")).forEach(soon);
    for (const kind of ["overview", "workers", "queues", "tasks", "task", "worker", "resync", "ping"]) {
      source.addEventListener(kind, hear);
    }
  };

  effect(() => {
    paths = wanted();
    open();
  });
  every(TICK_MS, () => {
    if (isLive.value) now.value = time();
  });
  every(POLL_MS, () => {
    if (!isLive.value || document.hidden) return;
    const isSilent = source === null || source.readyState !== EventSource.OPEN ||
      time() - heardAt > SILENCE_SECONDS;
    if (source !== null && isSilent) {
      how.value = "polling";
      if (source.readyState === EventSource.CLOSED) open();
    }
    for (const path of paths) if (isSilent || topicOf(path) === null) load(path);
  });
}

/** Returns the stream's topic for a path of the API; null if there is none. */
function topicOf(path: string): string | null {
  const [head = "", query] = path.split("?");
  if (head === "overview" || head === "workers" || head === "queues") return path;
  if (head === "tasks") {
    const search = new URLSearchParams(query).get("search");
    return search ? `tasks?search=${encodeURIComponent(search)}` : "tasks";
  }
  const [kind, name] = head.split("/");
  if (name === undefined) return null;
  return kind === "tasks"
    ? `task:${decodeURIComponent(name)}`
    : kind === "workers"
    ? `worker:${decodeURIComponent(name)}`
    : null;
}
