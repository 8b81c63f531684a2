/**
 * Everything in `lib/` that reads what a stranger can send: each must read it or refuse it by an error of ours, in
 * a time that grows with its length and no faster.
 */

import assert from "node:assert/strict";
import { OperatingError, Outbox, UsageError } from "../../lib/base/mod.ts";
import { crontab } from "../../lib/app/mod.ts";
import { Crontab } from "../../lib/beat/crontab.ts";
import { Zone } from "../../lib/beat/zone.ts";
import { isFor, matches } from "../../lib/mailbox/mod.ts";
import {
  acceptedTypes,
  AMQP_CLASSES,
  AmqpFrameDecoder,
  AmqpProperties,
  CeleryError,
  decodeEnvelope,
  decodeEvents,
  decodeMailboxReply,
  decodeMailboxRequest,
  decodeMethod,
  decodePayload,
  decodeProtocol1,
  decodeResultMeta,
  decodeTaskBody,
  decodeTaskHeaders,
  decompress,
  deserialize,
  encodeContent,
  encodeMethod,
  EXCEPTION_STATES,
  fromWireException,
  loadSerializer,
  readContentHead,
  RespDecoder,
  type WireException,
} from "../../lib/wire/mod.ts";
import { golden, type GoldenMessage } from "../unit/wire/golden.ts";
import { type Chance, oddBytes, oddJson, oddText } from "./chance.ts";
import { cpuMsOf } from "../support/cpu_time.ts";

/** One kind of input and who reads it. */
export interface Target {
  readonly name: string;
  /** Makes one input and has it read; throws only where the reader is at fault. */
  run(chance: Chance): void;
}

/** Milliseconds of processor time that one input of at most some 20 KB may take. */
const INPUT_MS_MAX = 1000;

for (const name of ["yaml", "msgpack", "cbor"]) await loadSerializer(name);
const ACCEPT = acceptedTypes(["json", "yaml", "msgpack", "cbor", "raw"]);

const messages = golden("redis-publish-5.6.3");
const events = golden("redis-events-5.6.3");
const control = golden("redis-pidbox-5.6.3");
const documents = golden("results-5.6.3").filter(({ document }) => typeof document === "string");
const bodies = golden("serializers-5.6.3").filter(({ body_base64 }) => typeof body_base64 === "string");
const packed = golden("packed-3.11");

/** A captured envelope with odd places in the envelope, and often in the body within. */
export function oddEnvelope(chance: Chance, captured: readonly GoldenMessage[]): string {
  const envelope = JSON.parse(chance.of(captured).raw) as { body: string; headers: Record<string, unknown> };
  if (chance.oneIn(4)) envelope.headers["task"] = "no.such";
  if (!chance.oneIn(3)) {
    const body = text(Uint8Array.fromBase64(envelope.body));
    let parsed: unknown = null;
    try {
      parsed = JSON.parse(body);
    } catch {
      // A body of another serializer: its text is changed.
    }
    const odd = parsed === null ? oddText(chance, body) : oddJson(chance, parsed);
    envelope.body = new TextEncoder().encode(odd).toBase64();
    if (chance.oneIn(3)) return JSON.stringify(envelope);
  }
  if (chance.oneIn(3)) return oddJson(chance, envelope);
  const headers = oddJson(chance, { ...envelope.headers, "x-own": [1] });
  return JSON.stringify({ ...envelope, headers: 0 }).replace('"headers":0', () => `"headers":${headers}`);
}

/** All in-process targets. */
export const TARGETS: readonly Target[] = [
  {
    name: "task message",
    run: (chance) =>
      reads(oddEnvelope(chance, messages), (raw) => {
        const { message } = decodeEnvelope(raw);
        if (decodeTaskHeaders(message) === null) decodeProtocol1(message, ACCEPT);
        else decodeTaskBody(message, ACCEPT);
      }),
  },
  {
    name: "event",
    run: (chance) =>
      reads(oddEnvelope(chance, events), (raw) => void decodeEvents(decodeEnvelope(raw).message, ACCEPT)),
  },
  {
    name: "remote control",
    run: (chance) =>
      reads(oddEnvelope(chance, control), (raw) => {
        const { message } = decodeEnvelope(raw);
        decodePayload(message, ACCEPT);
        if (chance.oneIn(2)) decodeMailboxReply(message, ACCEPT);
        else {
          const request = decodeMailboxRequest(message, ACCEPT);
          patternRefused(() => void isFor("w1@example", request));
        }
      }),
  },
  {
    name: "pattern",
    run(chance) {
      let pattern = "";
      for (let n = chance.below(60); n >= 0; n--) {
        pattern += chance.of([
          "*",
          "a",
          "(a+)+",
          ".*",
          "[",
          "]",
          "?",
          "|",
          "(?:",
          ")",
          "\\d",
          "{1,99}",
          "^",
          "$",
          "@",
          "!",
        ]);
      }
      reads(pattern, () => {
        for (const kind of ["glob", "pcre"] as const) {
          patternRefused(() => void matches("a".repeat(200) + "@b", pattern, kind));
        }
      });
    },
  },
  {
    name: "result document",
    run(chance) {
      const { document } = chance.of(documents) as unknown as { document: string };
      reads(oddJson(chance, JSON.parse(document)), (raw) => {
        const { state, result, traceback } = decodeResultMeta(raw, { serializer: "json", accept: ACCEPT });
        if (EXCEPTION_STATES.has(state)) String(fromWireException(result as WireException, traceback).stack);
      });
    },
  },
  {
    name: "serialised body",
    run(chance) {
      const sample = chance.of(bodies) as unknown as {
        content_type: string;
        content_encoding: string;
        body_base64: string;
      };
      const bytes = oddBytes(chance, Uint8Array.fromBase64(sample.body_base64));
      reads(bytes, (raw) => void deserialize(raw, sample.content_type, sample.content_encoding, ACCEPT));
    },
  },
  {
    name: "compressed body",
    run(chance) {
      const { compression, base64 } = chance.of(packed);
      const bytes = oddBytes(chance, Uint8Array.fromBase64(base64 as string));
      reads(bytes, (raw) => void decompress(raw, compression as string, { bytesMax: 1_000_000 }));
    },
  },
  {
    name: "yaml",
    run(chance) {
      let yaml =
        "a: &a [1, 2]\nb: *a\nc: !!set {x: null}\nd: 2026-11-30\n? complex\n: [*a, {<<: {k: v}}]\ne: |\n  text\n";
      for (let n = chance.below(4); n >= 0; n--) {
        yaml = oddText(chance, yaml + chance.of(["&b [*b]", "*a", "<<: *a", "!!js/function x", "\t- "]));
      }
      reads(
        new TextEncoder().encode(yaml),
        (raw) => void deserialize(raw, "application/x-yaml", "utf-8", ACCEPT),
      );
    },
  },
  {
    name: "resp",
    run(chance) {
      const whole =
        "*3\r\n$3\r\nabc\r\n:42\r\n%1\r\n+k\r\n~2\r\n,1.5\r\n(9999\r\n>2\r\n+invalidate\r\n*1\r\n$1\r\nq\r\n-ERR no\r\n_\r\n#t\r\n$-1\r\n";
      const bytes = oddBytes(chance, new TextEncoder().encode(whole.repeat(1 + chance.below(3))));
      const decoder = new RespDecoder({ onReply: () => {}, onPush: () => {} });
      reads(bytes, () => inParts(chance, bytes, (part) => decoder.feed(part)));
    },
  },
  {
    name: "amqp frames",
    run(chance) {
      const outbox = new Outbox();
      encodeMethod(outbox, 0, "connection.tune", { "channel-max": 2047, "frame-max": 131072, heartbeat: 60 });
      encodeMethod(outbox, 1, "basic.deliver", {
        "consumer-tag": "c",
        "delivery-tag": 1,
        exchange: "",
        "routing-key": "q",
      });
      const properties = new AmqpProperties();
      properties.headers = {
        task: "t.add",
        n: 2n ** 62n,
        list: [1, "a", { t: new Date(0) }],
        f: 1.5,
        none: null,
      };
      encodeContent(outbox, 1, properties, "body".repeat(60), 150);
      encodeMethod(outbox, 0, "connection.close", {
        "reply-code": 320,
        "reply-text": "bye",
        "class-id": 0,
        "method-id": 0,
      });
      const bytes = oddBytes(chance, outbox.take());
      const decoder = new AmqpFrameDecoder({
        onFrame(type, _channel, payload) {
          if (type === 1) decodeMethod(payload);
          else if (type === 2) readContentHead(payload);
        },
      });
      reads(bytes, () => inParts(chance, bytes, (part) => decoder.feed(part)));
    },
  },
  {
    name: "amqp method",
    run(chance) {
      const method = chance.of(AMQP_CLASSES.flatMap((one) => one.methods));
      const payload = new Uint8Array(4 + chance.below(60));
      new DataView(payload.buffer).setUint32(0, method.id);
      for (let at = 4; at < payload.length; at++) {
        payload[at] = chance.oneIn(3) ? chance.below(8) : chance.below(256);
      }
      reads(payload, () => void decodeMethod(payload));
    },
  },
  {
    name: "schedule",
    run(chance) {
      const word = () =>
        chance.of<unknown>([
          ...[
            "*",
            "*/5",
            "1-5",
            "0",
            "59",
            "1,2,3",
            "sun",
            "mon-fri",
            "*/0",
            "5-1",
            "99",
            "-1",
            "",
            "*/99999999999",
            "1-",
            ",",
            "1e3",
          ],
          ...["JAN", 3, 2.5, NaN, [1, 2], new Set([1]), [], null, {}, "1-5/2,7-9/3", "31"],
        ]);
      const fields = {
        minute: word(),
        hour: word(),
        dayOfWeek: word(),
        dayOfMonth: word(),
        monthOfYear: word(),
      };
      reads(fields, () => {
        const made = new Crontab(
          crontab(fields as never),
          Zone.of(chance.of(["UTC", "Europe/Berlin", "America/New_York"])),
        );
        let at = Date.UTC(2026, 0, 1);
        for (let n = 0; n < 3; n++) {
          const next = made.next(at);
          if (next === null) return;
          assert.ok(next > at, "a next run is later");
          at = next;
        }
      });
    },
  },
];

/** A pattern may also be refused as the matcher says: too long or too deep, or not readable. */
function patternRefused(match: () => void): void {
  try {
    match();
  } catch (error) {
    if (!(error instanceof RangeError || error instanceof SyntaxError)) throw error;
  }
}

/** Has one input read: refusals are an error of ours, and it does not take long. */
function reads<T>(input: T, read: (input: T) => void): void {
  const took = cpuMsOf(() => {
    try {
      read(input);
    } catch (error) {
      mustBeOurs(error, input);
    }
  });
  assert.ok(took < INPUT_MS_MAX, `took ${Math.round(took)} ms: ${shownInput(input)}`);
}

function mustBeOurs(error: unknown, input: unknown): void {
  if (error instanceof OperatingError || error instanceof CeleryError || error instanceof UsageError) return;
  throw new Error(`Refused by no error of ours: ${shownInput(input)}`, { cause: error });
}

function shownInput(input: unknown): string {
  const shown = input instanceof Uint8Array
    ? `bytes ${input.toHex()}`
    : typeof input === "string"
    ? input
    : Deno.inspect(input);
  return shown.slice(0, 2000);
}

function inParts(chance: Chance, bytes: Uint8Array, feed: (part: Uint8Array) => void): void {
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + 1 + chance.below(40));
    feed(bytes.slice(at, end));
    at = end;
  }
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
