/** Where the isolate of an IsolatedService begins. In the bundle this is a file beside main.js. */

import { errorText, type Level, LevelLog, type LogContext } from "../base/mod.ts";
import { realWorld } from "../platform/mod.ts";
import { healthResponse } from "./health.ts";
import type { Answer, FromIsolate, ToIsolate } from "./isolated_service.ts";
import { HttpService } from "./service.ts";

/** How long the main isolate has for an answer: less than the ten seconds that Prometheus waits for a scrape. */
const ANSWER_MS = 5000;
/** Requests that the main isolate has not taken yet; more are not put to it. */
const ASKED_MAX = 64;

/** What an isolate has of its global scope. */
interface IsolateScope {
  onmessage: ((event: MessageEvent<ToIsolate>) => void) | null;
  postMessage(message: FromIsolate): void;
}

const scope = globalThis as unknown as IsolateScope;
const say = (message: FromIsolate): void => scope.postMessage(message);

/** The log of the main isolate. */
class RelayedLog extends LevelLog {
  emit(level: Level, message: string, context?: LogContext): void {
    say({ level, message, context });
  }
}

const world = { ...realWorld(), log: new RelayedLog("DEBUG") };

/** Who waits for answers of the main isolate; null once it has waited for too long, and the answer is still to come. */
const asked = new Map<number, ((answer: Answer) => void) | null>();
let lastId = 0;

async function answer(request: Request): Promise<Response> {
  const [, path = "/", query = ""] = /^[^/]*\/\/[^/]*([^?#]*)(\?[^#]*)?/.exec(request.url) ?? [];
  const isRead = request.method === "GET" || request.method === "HEAD";
  if (isRead && path === "/livez") return healthResponse(request, []);
  const told = await askMain(request, `${path}${query}`);
  if (told !== null) {
    const { status, headers, body } = told;
    return new Response(body, { status, headers: [...headers] });
  }
  const text = `it runs a task that has not given way for ${ANSWER_MS / 1000} s`;
  return healthResponse(request, [{ name: "loop", isOk: false, text }]);
}

/** The main isolate's answer; null if there is none in time. */
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
