/**
 * Exchanges and queues of remote control: a fanout exchange that every worker listens to, and a reply queue
 * for each client.
 *
 * Source: kombu 5.2.4 pidbox.py Mailbox.get_queue, get_reply_queue; celery 5.2.6 app/control.py
 * Control.__init__; protocol.md 3.2, 6.
 */

import { type Exchange, exchange, type Queue, queue } from "../transport/mod.ts";
import { type Accept, acceptedTypes, loadSerializer } from "../wire/mod.ts";

/** Settings of names, queues and message content. Durations are seconds. */
export interface MailboxSettings {
  /** `control_exchange`. */
  readonly namespace: string;
  /** `control_queue_ttl`: how long a request waits for a node. */
  readonly ttl: number;
  /** `control_queue_expires`: how long a queue outlives its reader. */
  readonly expires: number;
  readonly isDurable: boolean;
  /** Null: exclusive if the broker requires it. */
  readonly isExclusive: boolean | null;
  /** `task_serializer`: control messages are encoded as tasks are. */
  readonly serializer: string;
  /** `accept_content`, as content types. */
  readonly accept: Accept;
}

/** Celery's defaults. */
export const MAILBOX_DEFAULTS: MailboxSettings = {
  namespace: "celery",
  ttl: 300,
  expires: 10,
  isDurable: false,
  isExclusive: null,
  serializer: "json",
  accept: acceptedTypes(["json"]),
};

/** The settings of an App that the mailbox uses. */
export interface MailboxConf {
  readonly control_exchange: string;
  readonly control_queue_ttl: number;
  readonly control_queue_expires: number;
  readonly control_queue_durable: boolean;
  readonly control_queue_exclusive: boolean | null;
  readonly task_serializer: string;
  readonly accept_content: readonly string[];
}

/** Returns the mailbox's settings from an App's. */
export function mailboxSettings(conf: MailboxConf): MailboxSettings {
  return {
    namespace: conf.control_exchange,
    ttl: conf.control_queue_ttl,
    expires: conf.control_queue_expires,
    isDurable: conf.control_queue_durable,
    isExclusive: conf.control_queue_exclusive,
    serializer: conf.task_serializer,
    accept: acceptedTypes(conf.accept_content),
  };
}

/**
 * Loads the serializers that a mailbox with these settings needs. Rejects with UsageError for one that is
 * unknown or not available.
 */
export async function loadMailboxSerializers(conf: MailboxConf): Promise<void> {
  for (const name of [conf.task_serializer, ...conf.accept_content]) await loadSerializer(name);
}

/** Returns the exchange that requests are published to: fanout, neither durable nor auto-deleted. */
export function requestExchange({ namespace }: MailboxSettings): Exchange {
  return exchange(`${namespace}.pidbox`, { type: "fanout", durable: false });
}

/** Returns the exchange of replies. */
export function replyExchange({ namespace }: MailboxSettings): Exchange {
  return exchange(replyExchangeName(namespace), { durable: false });
}

/** Returns the name of the reply exchange: `reply.celery.pidbox`. */
export function replyExchangeName(namespace: string): string {
  return `reply.${namespace}.pidbox`;
}

/** Returns a node's queue of requests: `<node name>.celery.pidbox`. */
export function requestQueue(nodename: string, settings: MailboxSettings): Queue {
  return queue(`${nodename}.${settings.namespace}.pidbox`, {
    exchange: requestExchange(settings),
    routingKey: "",
    ...shape(settings),
  });
}

/** Returns the node of a request queue, or null if the queue is another one. */
export function nodeOfQueue(name: string, { namespace }: MailboxSettings): string | null {
  const tail = `.${namespace}.pidbox`;
  return name.endsWith(tail) && name.length > tail.length ? name.slice(0, -tail.length) : null;
}

/** Returns a client's queue of replies: `<id>.reply.celery.pidbox`. */
export function replyQueue(id: string, settings: MailboxSettings): Queue {
  return queue(`${id}.${replyExchangeName(settings.namespace)}`, {
    exchange: replyExchange(settings),
    routingKey: id,
    ...shape({ ...settings, isDurable: false, isExclusive: null }),
  });
}

function shape(settings: MailboxSettings): Partial<Queue> {
  return {
    durable: settings.isDurable,
    exclusive: settings.isExclusive ?? false,
    isPersonal: settings.isExclusive === null,
    autoDelete: !settings.isDurable,
    noAck: true,
    queueArguments: {
      "x-message-ttl": Math.round(settings.ttl * 1000),
      "x-expires": Math.round(settings.expires * 1000),
    },
  };
}
