/**
 * wire: pure codecs. Bytes and text in, values out, and back; no socket, no clock, no promise but for loading
 * a serializer. May touch `node:zlib`, and yaml, msgpack, cbor, `node:crypto` where they are named.
 *
 * Reading order: message.ts (the shapes), errors.ts (Celery's exceptions, and any error to and from the
 * wire), json_types.ts (JSON with kombu's types), serializer.ts (by content type; serializer_yaml, _msgpack,
 * _cbor are loaded when named; plain_tree.ts is their ground), signing.ts (serializer_auth, certificate_id,
 * private_key and der are loaded with their keys), compressor.ts, base64.ts, envelope.ts (kombu's
 * virtual envelope), task_message.ts and task_decoder.ts (protocols 2 and 1), chain_steps.ts, result_meta.ts,
 * python_repr.ts, times.ts, event_message.ts, mailbox_message.ts; resp_decoder.ts and resp_encoder.ts (Redis);
 * amqp_spec.ts (the table of AMQP), amqp_table.ts (known_texts.ts), amqp_frame.ts, amqp_method.ts,
 * amqp_properties.ts.
 */

export * from "./amqp_frame.ts";
export * from "./amqp_method.ts";
export * from "./amqp_properties.ts";
export * from "./amqp_spec.ts";
export * from "./amqp_table.ts";
export * from "./compressor.ts";
export * from "./envelope.ts";
export * from "./errors.ts";
export * from "./chain_steps.ts";
export * from "./event_message.ts";
export * from "./json_types.ts";
export { asciiText } from "./known_texts.ts";
export * from "./mailbox_message.ts";
export * from "./message.ts";
export * from "./python_repr.ts";
export * from "./resp_decoder.ts";
export * from "./resp_encoder.ts";
export * from "./result_meta.ts";
export * from "./serializer.ts";
export * from "./signing.ts";
export * from "./task_decoder.ts";
export * from "./task_message.ts";
export * from "./times.ts";
