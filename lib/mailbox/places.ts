/**
 * Where remote control's messages go: a fanout that every worker listens to, and a queue of replies per asker.
 *
 * Source: kombu 5.2.4 pidbox.py Mailbox.get_queue, get_reply_queue; celery 5.2.6 app/control.py Control.__init__;
 * protocol.md 3.2, 6.
 */

import { type Exchange, exchange, type Queue, queue } from "../transport/mod.ts";
import { type Accept, acceptedTypes, loadSerializer } from "../wire/mod.ts";

/** The settings that name and shape them, and say what stands in messages. Durations are seconds. */
export interface MailboxSettings {
  /** `control_exchange`. */
  readonly namespace: string;
  /** `control_queue_ttl`: how long a request waits for a node. */
  readonly ttl: number;
  /** `control_queue_expires`: how long a queue outlives its reader. */
  readonly expires: number;
  readonly isDurable: boolean;
  /** Null: if the broker wants it so. */
  readonly isExclusive: boolean | null;
  /** `task_serializer`: control messages are written as tasks are. */
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

/** What of an App's settings the mailbox reads. */
export interface MailboxConf {
  readonly control_exchange: string;
  readonly control_queue_ttl: number;
  readonly control_queue_expires: number;
  readonly control_queue_durable: boolean;
  readonly control_queue_exclusive: boolean | null;
  readonly task_serializer: string;
  readonly accept_content: readonly string[];
}

/** The mailbox's part of an App's settings. */
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

/** Loads what a mailbox of these settings reads and writes. Rejects with UsageError for what cannot be had. */
export async function loadMailboxSerializers(conf: MailboxConf): Promise<void> {
  for (const name of [conf.task_serializer, ...conf.accept_content]) await loadSerializer(name);
}

/** The exchange that requests are published to: fanout, neither durable nor deleted. */
export function requestExchange({ namespace }: MailboxSettings): Exchange {
  return exchange(`${namespace}.pidbox`, { type: "fanout", durable: false });
}

/** The exchange that replies go through. */
export function replyExchange({ namespace }: MailboxSettings): Exchange {
  return exchange(replyExchangeName(namespace), { durable: false });
}

/** Its name: `reply.celery.pidbox`. */
export function replyExchangeName(namespace: string): string {
  return `reply.${namespace}.pidbox`;
}

/** A node's own queue of requests: `<node name>.celery.pidbox`. */
export function requestQueue(nodename: string, settings: MailboxSettings): Queue {
  return queue(`${nodename}.${settings.namespace}.pidbox`, {
    exchange: requestExchange(settings),
    routingKey: "",
    ...shape(settings),
  });
}

/** The node of a request queue's name, or null where it is another queue. */
export function nodeOfQueue(name: string, { namespace }: MailboxSettings): string | null {
  const tail = `.${namespace}.pidbox`;
  return name.endsWith(tail) && name.length > tail.length ? name.slice(0, -tail.length) : null;
}

/** An asker's queue of replies: `<id>.reply.celery.pidbox`. */
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
