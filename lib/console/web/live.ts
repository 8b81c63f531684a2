/**
 * Keeps a page as it is now: by the server's stream, whose frames carry whole answers; by asking every few seconds for
 * what the stream has no topic for, or if no stream comes through. A switch pauses both.
 */

import { effect, type Signal, signal } from "@preact/signals";
import type { Frame } from "../api/v1/schema.ts";
import { after, every, now, setTime, time } from "./clock.ts";
import { prefix } from "./place.ts";
import { load, put } from "./store.ts";

/** Whether the page follows the cluster. */
export const isLive: Signal<boolean> = signal(true);

/** How it follows: by the stream, by asking again, or not yet. */
export const how: Signal<"stream" | "polling" | "starting"> = signal("starting");

const TICK_MS = 1000;
const POLL_MS = 4000;
/** A list of tasks is asked for again at most this often, however many tasks change. */
const LIST_MS = 1000;
/** No frame after this long: something on the way holds them back. */
const SILENCE_SECONDS = 8;

/** Follows the paths that `wanted` returns, until the page goes away. */
export function follow(wanted: () => readonly string[]): void {
  let paths: readonly string[] = [];
  let source: EventSource | null = null;
  let heardAt = 0;
  const asking = new Map<string, "soon" | "now" | "again">();

  const soon = (path: string) => {
    const state = asking.get(path);
    // What changes while an answer is on its way may not be in it.
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
    // What changed between the answer on show and the stream's beginning.
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

/** The topic of the stream that has what a path of the API answers; null if there is none. */
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
