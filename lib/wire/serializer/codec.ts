/** The interface of a serializer. */

/**
 * A serializer. `encode` and `decode` may throw any error; the registry wraps it in EncodeError or
 * DecodeError.
 */
export interface Codec {
  readonly name: string;
  readonly contentType: string;
  readonly contentEncoding: string;
  encode(value: unknown): string | Uint8Array;
  /** Decodes bytes as received, or text. */
  decode(body: Uint8Array | string): unknown;
}
