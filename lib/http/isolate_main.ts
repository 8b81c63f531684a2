/** The entry of the isolate of an IsolatedService. In the bundle it is a file next to main.js. */

import { errorText, type Level, LevelLog, type LogContext } from "../base/mod.ts";
import { realWorld } from "../platform/mod.ts";
import { healthResponse } from "./health.ts";
import type { Answer, FromIsolate, ToIsolate } from "./isolated_service.ts";
import { HttpService } from "./service.ts";

/** How long the main isolate has to answer: less than the ten seconds that Prometheus waits for a scrape. */
const ANSWER_MS = 5000;
/** Requests waiting for the main isolate at most; further ones are not passed to it. */
const ASKED_MAX = 64;

/** The part of an isolate's global scope that is used here. */
interface IsolateScope {
  onmessage: ((event: MessageEvent<ToIsolate>) => void) | null;
  postMessage(message: FromIsolate): void;
}

const scope = globalThis as unknown as IsolateScope;
const say = (message: FromIsolate): void => scope.postMessage(message);

/** Relays log lines to the main isolate's log. */
class RelayedLog extends LevelLog {
  emit(level: Level, message: string, context?: LogContext): void {
    say({ level, message, context });
  }
}

const world = { ...realWorld(), log: new RelayedLog("DEBUG") };

/** Waiting requests by id; null if one has timed out and its answer is still to come. */
const asked = new Map<number, ((answer: Answer) => void) | null>();
let lastId = 0;

async function answer(request: Request): Promise<Response> {
  const [, path = "/", query = ""] = /^[^/]*\/\/[^/]*([^?#]*)(\?[^#]*)?/.exec(request.url) ?? [];
  const isRead = request.method === "GET" || request.method === "HEAD";
  if (isRead && path === "/livez") return healthResponse(request, []);
  const reply = await askMain(request, `${path}${query}`);
  if (reply !== null) {
    const { status, headers, body } = reply;
    return new Response(body, { status, headers: [...headers] });
  }
  const text = `a task has blocked the event loop for ${ANSWER_MS / 1000} s`;
  return healthResponse(request, [{ name: "loop", isOk: false, text }]);
}

/** Resolves with the main isolate's answer; null if there is none in time. Never rejects. */
function askMain(request: Request, target: string): Promise<Answer | null> {
  if (asked.size >= ASKED_MAX) return Promise.resolve(null);
  const { promise, resolve } = Promise.withResolvers<Answer | null>();
  const id = ++lastId;
  const disarm = world.clock.arm(world.clock.monoMs() + ANSWER_MS, () => {
    asked.set(id, null);
    resolve(null);
  });
  asked.set(id, (answer) => {
    disarm();
    resolve(answer);
  });
  say({ ask: { id, method: request.method, target, headers: [...request.headers] } });
  return promise;
}

let opening: Promise<HttpService> | null = null;

scope.onmessage = ({ data }) => {
  if ("place" in data) {
    opening = HttpService.open(world, data.place, answer);
    opening.then(({ port }) => say({ port }), (error) => say({ failure: errorText(error) }));
  } else if ("answer" in data) {
    asked.get(data.answer.id)?.(data.answer);
    asked.delete(data.answer.id);
  } else {
    void opening?.then((service) => service.close()).finally(() => say({ closed: true }));
  }
};
