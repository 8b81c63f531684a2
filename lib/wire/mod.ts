/**
 * wire: pure codecs between bytes or text and values. No socket, no clock, and no promise except for loading
 * a serializer. May use `node:zlib`, and yaml, cbor-x and `node:crypto` when a serializer that needs them is
 * loaded.
 *
 * Five folders stand above the single files; serializer is above json, and message above both:
 *
 * - errors.ts (Celery's exceptions, and any error to and from the wire), python_repr.ts and python_truth.ts
 *   (repr and truth of values in Python), raw_json.ts and decimal.ts (numbers that JavaScript cannot
 *   represent), base64.ts, times.ts, plain_times.ts (Temporal, or a replacement), traceparent.ts, record.ts,
 *   known_texts.ts.
 * - json/json.ts and json/reader.ts (JSON with kombu's types) with json/number_sources.ts, json/form.ts
 *   (values without a form in JSON), json/shown.ts (any value, for people), json/carried.ts (values that are
 *   only passed on).
 * - resp/decoder.ts and resp/encoder.ts (Redis).
 * - amqp/spec.ts (the methods of AMQP as a table), amqp/table.ts (values), amqp/frame.ts, amqp/method.ts,
 *   amqp/properties.ts.
 * - serializer/serializer.ts (by name and content type), serializer/codec.ts (the interface); loaded when
 *   named: serializer/yaml.ts, serializer/msgpack.ts, serializer/cbor.ts with serializer/cbor_check.ts, over
 *   serializer/plain_tree.ts, serializer/binary_reader.ts and serializer/binary_writer.ts;
 *   serializer/signing.ts loads serializer/auth.ts with serializer/certificate_id.ts,
 *   serializer/private_key.ts and serializer/der.ts; serializer/compressor.ts; serializer/decompressor.ts
 *   over serializer/bzip2.ts and serializer/xz.ts with serializer/lzma.ts, which write into
 *   serializer/unpacked.ts.
 * - message/message.ts (the types), message/envelope.ts (kombu's virtual envelope), message/task_message.ts
 *   and message/task_decoder.ts (protocols 2 and 1), message/chain_steps.ts, message/result_meta.ts,
 *   message/event_message.ts, message/mailbox_message.ts, message/resend.ts.
 */

export * from "./decimal.ts";
export * from "./amqp/frame.ts";
export * from "./amqp/method.ts";
export * from "./amqp/properties.ts";
export * from "./amqp/spec.ts";
export * from "./amqp/table.ts";
export * from "./json/carried.ts";
export * from "./serializer/compressor.ts";
export * from "./serializer/decompressor.ts";
export * from "./message/envelope.ts";
export * from "./errors.ts";
export * from "./message/chain_steps.ts";
export * from "./message/event_message.ts";
export * from "./json/reader.ts";
export * from "./json/json.ts";
export * from "./known_texts.ts";
export * from "./message/mailbox_message.ts";
export * from "./message/message.ts";
export * from "./python_repr.ts";
export * from "./python_truth.ts";
export * from "./raw_json.ts";
export * from "./message/resend.ts";
export * from "./resp/decoder.ts";
export * from "./resp/encoder.ts";
export * from "./message/result_meta.ts";
export * from "./serializer/serializer.ts";
export * from "./json/shown.ts";
export type { SigningKeys } from "./serializer/auth.ts";
export * from "./serializer/signing.ts";
export * from "./message/task_decoder.ts";
export * from "./message/task_message.ts";
export * from "./times.ts";
export * from "./traceparent.ts";
