/** What a serializer does. */

/** A serializer. `encode` and `decode` may throw anything: the registry says what it was about. */
export interface Codec {
  readonly name: string;
  readonly contentType: string;
  readonly contentEncoding: string;
  encode(value: unknown): string | Uint8Array;
  /** Bytes as they came, or text. */
  decode(body: Uint8Array | string): unknown;
}
