/**
 * SASL: the login mechanisms.
 *
 * Source: AMQP 0-9-1 specification 2.2.4; RabbitMQ "Access Control" (PLAIN, AMQPLAIN, EXTERNAL); py-amqp
 * 5.1.1 sasl.py.
 */

import { AccessRefused, Outbox, UsageError } from "../base/mod.ts";
import { writeTable } from "../wire/mod.ts";

/** A mechanism and its response to the server's greeting. */
export interface SaslAnswer {
  readonly mechanism: string;
  readonly response: Uint8Array;
}

const MECHANISMS = ["PLAIN", "AMQPLAIN", "EXTERNAL"];

/**
 * Returns the response for a login method: Celery's `broker_login_method`, null for PLAIN. `offered` is the
 * server's list of mechanisms. Throws UsageError for an unknown method, AccessRefused for one that the server
 * does not offer.
 */
export function saslAnswer(
  method: string | null,
  login: { readonly username: string; readonly password: string },
  offered: string,
): SaslAnswer {
  const mechanism = (method ?? "PLAIN").toUpperCase();
  if (!MECHANISMS.includes(mechanism)) {
    throw new UsageError(
      `Cannot log in by "${method}": broker_login_method is one of ${MECHANISMS.join(", ")}`,
    );
  }
  if (!offered.split(" ").includes(mechanism)) {
    throw new AccessRefused(`Cannot log in by ${mechanism}: the server offers ${offered}`);
  }
  return { mechanism, response: responseOf(mechanism, login) };
}

function responseOf(
  mechanism: string,
  { username, password }: { username: string; password: string },
): Uint8Array {
  // The server identifies us by the certificate of the TLS connection.
  if (mechanism === "EXTERNAL") return new Uint8Array(0);
  if (mechanism === "PLAIN") return new TextEncoder().encode(`\0${username}\0${password}`);
  const outbox = new Outbox();
  writeTable(outbox, { LOGIN: username, PASSWORD: password });
  // The response is a table without its length.
  return outbox.take().slice(4);
}
