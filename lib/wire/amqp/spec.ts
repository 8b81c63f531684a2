/**
 * AMQP 0-9-1 as one table: classes, methods, fields and properties, with RabbitMQ's extensions.
 *
 * The encoder, the decoder and tests use it; no other file contains the number of a method.
 *
 * Source: AMQP 0-9-1 specification (amqp0-9-1.extended.xml of RabbitMQ: exchange.bind, basic.nack, confirm,
 * connection.blocked, connection.update-secret, access.request kept from 0-9).
 */

/** The types of values on the wire. Consecutive bits share an octet. */
export type AmqpDomain =
  | "bit"
  | "octet"
  | "short"
  | "long"
  | "longlong"
  | "shortstr"
  | "longstr"
  | "timestamp"
  | "table";

/** One field of a method, or one property of a content header. */
export interface AmqpField {
  readonly name: string;
  readonly domain: AmqpDomain;
}

/** A method. `id` is class × 65536 + method. */
export interface AmqpMethod {
  readonly id: number;
  readonly classId: number;
  readonly methodId: number;
  /** The full name, such as "queue.declare-ok". */
  readonly name: string;
  readonly fields: readonly AmqpField[];
  /** True if a header frame and body frames follow. */
  readonly hasContent: boolean;
  /** The names of the methods that reply to it; empty: it has no reply. */
  readonly replies: readonly string[];
}

/** A class. Its properties are in the order of their flags, highest bit first. */
export interface AmqpClass {
  readonly id: number;
  readonly name: string;
  readonly properties: readonly AmqpField[];
  readonly methods: readonly AmqpMethod[];
}

/** Fields as text: "name:domain …". */
type Row = readonly [name: string, methodId: number, fields: string, replies?: string, content?: "content"];

const CLASSES: readonly (readonly [name: string, id: number, properties: string, methods: readonly Row[]])[] =
  [
    ["connection", 10, "", [
      [
        "start",
        10,
        "version-major:octet version-minor:octet server-properties:table mechanisms:longstr locales:longstr",
        "start-ok",
      ],
      ["start-ok", 11, "client-properties:table mechanism:shortstr response:longstr locale:shortstr"],
      ["secure", 20, "challenge:longstr", "secure-ok"],
      ["secure-ok", 21, "response:longstr"],
      ["tune", 30, "channel-max:short frame-max:long heartbeat:short", "tune-ok"],
      ["tune-ok", 31, "channel-max:short frame-max:long heartbeat:short"],
      ["open", 40, "virtual-host:shortstr capabilities:shortstr insist:bit", "open-ok"],
      ["open-ok", 41, "known-hosts:shortstr"],
      ["close", 50, "reply-code:short reply-text:shortstr class-id:short method-id:short", "close-ok"],
      ["close-ok", 51, ""],
      ["blocked", 60, "reason:shortstr"],
      ["unblocked", 61, ""],
      ["update-secret", 70, "new-secret:longstr reason:shortstr", "update-secret-ok"],
      ["update-secret-ok", 71, ""],
    ]],
    ["channel", 20, "", [
      ["open", 10, "out-of-band:shortstr", "open-ok"],
      ["open-ok", 11, "channel-id:longstr"],
      ["flow", 20, "active:bit", "flow-ok"],
      ["flow-ok", 21, "active:bit"],
      ["close", 40, "reply-code:short reply-text:shortstr class-id:short method-id:short", "close-ok"],
      ["close-ok", 41, ""],
    ]],
    ["access", 30, "", [
      ["request", 10, "realm:shortstr exclusive:bit passive:bit active:bit write:bit read:bit", "request-ok"],
      ["request-ok", 11, "ticket:short"],
    ]],
    ["exchange", 40, "", [
      [
        "declare",
        10,
        "ticket:short exchange:shortstr type:shortstr passive:bit durable:bit auto-delete:bit internal:bit " +
        "nowait:bit arguments:table",
        "declare-ok",
      ],
      ["declare-ok", 11, ""],
      ["delete", 20, "ticket:short exchange:shortstr if-unused:bit nowait:bit", "delete-ok"],
      ["delete-ok", 21, ""],
      [
        "bind",
        30,
        "ticket:short destination:shortstr source:shortstr routing-key:shortstr nowait:bit arguments:table",
        "bind-ok",
      ],
      ["bind-ok", 31, ""],
      [
        "unbind",
        40,
        "ticket:short destination:shortstr source:shortstr routing-key:shortstr nowait:bit arguments:table",
        "unbind-ok",
      ],
      ["unbind-ok", 51, ""],
    ]],
    ["queue", 50, "", [
      [
        "declare",
        10,
        "ticket:short queue:shortstr passive:bit durable:bit exclusive:bit auto-delete:bit nowait:bit " +
        "arguments:table",
        "declare-ok",
      ],
      ["declare-ok", 11, "queue:shortstr message-count:long consumer-count:long"],
      [
        "bind",
        20,
        "ticket:short queue:shortstr exchange:shortstr routing-key:shortstr nowait:bit arguments:table",
        "bind-ok",
      ],
      ["bind-ok", 21, ""],
      ["purge", 30, "ticket:short queue:shortstr nowait:bit", "purge-ok"],
      ["purge-ok", 31, "message-count:long"],
      ["delete", 40, "ticket:short queue:shortstr if-unused:bit if-empty:bit nowait:bit", "delete-ok"],
      ["delete-ok", 41, "message-count:long"],
      [
        "unbind",
        50,
        "ticket:short queue:shortstr exchange:shortstr routing-key:shortstr arguments:table",
        "unbind-ok",
      ],
      ["unbind-ok", 51, ""],
    ]],
    [
      "basic",
      60,
      "content-type:shortstr content-encoding:shortstr headers:table delivery-mode:octet priority:octet " +
      "correlation-id:shortstr reply-to:shortstr expiration:shortstr message-id:shortstr timestamp:timestamp " +
      "type:shortstr user-id:shortstr app-id:shortstr cluster-id:shortstr",
      [
        ["qos", 10, "prefetch-size:long prefetch-count:short global:bit", "qos-ok"],
        ["qos-ok", 11, ""],
        [
          "consume",
          20,
          "ticket:short queue:shortstr consumer-tag:shortstr no-local:bit no-ack:bit exclusive:bit nowait:bit " +
          "arguments:table",
          "consume-ok",
        ],
        ["consume-ok", 21, "consumer-tag:shortstr"],
        ["cancel", 30, "consumer-tag:shortstr nowait:bit", "cancel-ok"],
        ["cancel-ok", 31, "consumer-tag:shortstr"],
        [
          "publish",
          40,
          "ticket:short exchange:shortstr routing-key:shortstr mandatory:bit immediate:bit",
          "",
          "content",
        ],
        [
          "return",
          50,
          "reply-code:short reply-text:shortstr exchange:shortstr routing-key:shortstr",
          "",
          "content",
        ],
        [
          "deliver",
          60,
          "consumer-tag:shortstr delivery-tag:longlong redelivered:bit exchange:shortstr routing-key:shortstr",
          "",
          "content",
        ],
        ["get", 70, "ticket:short queue:shortstr no-ack:bit", "get-ok get-empty"],
        [
          "get-ok",
          71,
          "delivery-tag:longlong redelivered:bit exchange:shortstr routing-key:shortstr message-count:long",
          "",
          "content",
        ],
        ["get-empty", 72, "cluster-id:shortstr"],
        ["ack", 80, "delivery-tag:longlong multiple:bit"],
        ["reject", 90, "delivery-tag:longlong requeue:bit"],
        ["recover-async", 100, "requeue:bit"],
        ["recover", 110, "requeue:bit", "recover-ok"],
        ["recover-ok", 111, ""],
        ["nack", 120, "delivery-tag:longlong multiple:bit requeue:bit"],
      ],
    ],
    ["tx", 90, "", [
      ["select", 10, "", "select-ok"],
      ["select-ok", 11, ""],
      ["commit", 20, "", "commit-ok"],
      ["commit-ok", 21, ""],
      ["rollback", 30, "", "rollback-ok"],
      ["rollback-ok", 31, ""],
    ]],
    ["confirm", 85, "", [
      ["select", 10, "nowait:bit", "select-ok"],
      ["select-ok", 11, ""],
    ]],
  ];

/** Every class. */
export const AMQP_CLASSES: readonly AmqpClass[] = CLASSES.map(([name, id, properties, methods]) => ({
  id,
  name,
  properties: fieldsOf(properties),
  methods: methods.map(([method, methodId, fields, replies, content]) => ({
    id: id * 65536 + methodId,
    classId: id,
    methodId,
    name: `${name}.${method}`,
    fields: fieldsOf(fields),
    hasContent: content === "content",
    replies: (replies ?? "").split(" ").filter(Boolean).map((reply) => `${name}.${reply}`),
  })),
}));

const byId = new Map(AMQP_CLASSES.flatMap(({ methods }) => methods.map((method) => [method.id, method])));
const byName = new Map(AMQP_CLASSES.flatMap(({ methods }) => methods.map((method) => [method.name, method])));

/** The properties of a message: those of class basic, the only class with content. */
export const BASIC_PROPERTIES: readonly AmqpField[] = AMQP_CLASSES.find(({ id }) => id === 60)!.properties;

/** Returns a method by class × 65536 + method; undefined if it is unknown. */
export function amqpMethodById(id: number): AmqpMethod | undefined {
  return byId.get(id);
}

/**
 * Returns a method by its name, such as "queue.declare". Throws TypeError for an unknown one, which is a
 * programmer's error.
 */
export function amqpMethod(name: string): AmqpMethod {
  const method = byName.get(name);
  if (method === undefined) throw new TypeError(`AMQP has no method "${name}"`);
  return method;
}

/** Frame types. */
export const AMQP_FRAMES = { method: 1, header: 2, body: 3, heartbeat: 8 } as const;
/** The octet that ends every frame. */
export const AMQP_FRAME_END = 0xce;
/** The bytes of a frame without its payload: type, channel and size before it, the end octet after it. */
export const AMQP_FRAME_OVERHEAD = 8;
/** The smallest `frame-max` that a peer may request. */
export const AMQP_FRAME_MIN = 4096;
/** The protocol header, which a client sends first. */
export const AMQP_HEADER = new Uint8Array([65, 77, 81, 80, 0, 0, 9, 1]);

/** Reply codes with their names in the specification. */
export const AMQP_CODES: Readonly<Record<number, string>> = {
  200: "REPLY_SUCCESS",
  311: "CONTENT_TOO_LARGE",
  312: "NO_ROUTE",
  313: "NO_CONSUMERS",
  320: "CONNECTION_FORCED",
  402: "INVALID_PATH",
  403: "ACCESS_REFUSED",
  404: "NOT_FOUND",
  405: "RESOURCE_LOCKED",
  406: "PRECONDITION_FAILED",
  501: "FRAME_ERROR",
  502: "SYNTAX_ERROR",
  503: "COMMAND_INVALID",
  504: "CHANNEL_ERROR",
  505: "UNEXPECTED_FRAME",
  506: "RESOURCE_ERROR",
  530: "NOT_ALLOWED",
  540: "NOT_IMPLEMENTED",
  541: "INTERNAL_ERROR",
};

function fieldsOf(text: string): AmqpField[] {
  return text.split(" ").filter(Boolean).map((one) => {
    const [name, domain] = one.split(":") as [string, AmqpDomain];
    return { name, domain };
  });
}
