/**
 * Unpacks bodies according to the header `compression`. The unpacked size is limited, so that a small message
 * cannot fill the memory. "gzip" is a zlib stream, as in Celery; real gzip is read too.
 *
 * Source: kombu 5.6.2 compression.py.
 */

import { nodeZlib as zlib } from "../../base/mod.ts";
import { DecodeError } from "../errors.ts";
import { unpackBzip2 } from "./bzip2.ts";
import { COMPRESSION_TYPES, plainBytes } from "./compressor.ts";
import { tooLarge } from "./unpacked.ts";
import { unpackXz } from "./xz.ts";

/** The default limit of `decompress`: 256 MiB. */
export const UNPACKED_BYTES_MAX = 256 * 1024 * 1024;
/**
 * The limit for bodies that the worker's main isolate reads itself: 64 MiB. Running out of memory there would
 * end the worker and not only a slot.
 */
export const MAIN_UNPACKED_BYTES_MAX = 64 * 1024 * 1024;

/**
 * Unpacks what `compress` or kombu has compressed. `type` is a content type or a name. Throws DecodeError for
 * broken data, an unknown type, or more than `bytesMax` bytes.
 */
export function decompress(
  bytes: Uint8Array,
  type: string,
  options: { bytesMax?: number } = {},
): Uint8Array {
  const maxOutputLength = options.bytesMax ?? UNPACKED_BYTES_MAX;
  let unpacked: Uint8Array;
  try {
    switch (COMPRESSION_TYPES.get(type) ?? type) {
      case "application/x-gzip":
        unpacked = bytes[0] === 0x1f && bytes[1] === 0x8b
          ? zlib().gunzipSync(bytes, { maxOutputLength })
          : zlib().inflateSync(bytes, { maxOutputLength });
        break;
      case "application/x-brotli":
        unpacked = zlib().brotliDecompressSync(bytes, { maxOutputLength });
        break;
      case "application/zstd":
        unpacked = zlib().zstdDecompressSync(bytes, { maxOutputLength });
        break;
      case "application/x-bz2":
        unpacked = unpackBzip2(bytes, maxOutputLength);
        break;
      case "application/x-lzma":
        unpacked = unpackXz(bytes, maxOutputLength);
        break;
      default:
        throw new DecodeError(`Cannot decompress body: unknown compression "${type.slice(0, 100)}"`);
    }
  } catch (error) {
    if (error instanceof DecodeError) throw error;
    const isBomb = (error as { code?: unknown }).code === "ERR_BUFFER_TOO_LARGE";
    throw isBomb ? tooLarge(maxOutputLength) : broken(type);
  }
  // The runtime accepts brotli and zstd data that ends early. At least something must have been unpacked.
  if (unpacked.length === 0) throw broken(type);
  return plainBytes(unpacked);
}

function broken(type: string): DecodeError {
  return new DecodeError(`Cannot decompress body: broken ${type.slice(0, 100)} data`);
}
