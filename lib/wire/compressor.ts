/**
 * The compressors by name and by the content type that travels in the header `compression`.
 *
 * "gzip" is a zlib stream, as Celery has it; real gzip framing is read too. What is unpacked is bounded, so
 * that a small message cannot fill the memory.
 *
 * Source: kombu 5.6.2 compression.py.
 */

import { nodeZlib as zlib } from "../base/mod.ts";
import { DecodeError, EncodeError } from "./errors.ts";

/** The most that `decompress` gives unless told otherwise: 256 MiB. */
export const UNPACKED_BYTES_MAX = 256 * 1024 * 1024;

const TYPES: ReadonlyMap<string, string> = new Map([
  ["gzip", "application/x-gzip"],
  ["zlib", "application/x-gzip"],
  ["brotli", "application/x-brotli"],
  ["zstd", "application/zstd"],
  ["zstandard", "application/zstd"],
  ["bzip2", "application/x-bz2"],
  ["bzip", "application/x-bz2"],
  ["lzma", "application/x-lzma"],
  ["xz", "application/x-lzma"],
]);

/**
 * Compresses; `type` is what the header `compression` says. Throws EncodeError for an unknown or absent
 * compressor.
 */
export function compress(bytes: Uint8Array, name: string): { body: Uint8Array; type: string } {
  const type = compressionType(name);
  return { body: plain(pack(bytes, type, name)), type };
}

/** The content type of a compressor's name (or the type itself). Throws EncodeError where unknown. */
export function compressionType(name: string): string {
  const type = name.includes("/") ? name : TYPES.get(name);
  if (type === undefined) throw new EncodeError(`Cannot compress: unknown compression "${name}"`);
  return type;
}

/**
 * Unpacks what `compress` or kombu made; `type` is a content type or a name. At most `bytesMax`. Throws
 * DecodeError.
 */
export function decompress(
  bytes: Uint8Array,
  type: string,
  options: { bytesMax?: number } = {},
): Uint8Array {
  const maxOutputLength = options.bytesMax ?? UNPACKED_BYTES_MAX;
  let unpacked: Uint8Array | null = null;
  try {
    switch (TYPES.get(type) ?? type) {
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
      case "application/x-lzma":
        break;
      default:
        throw new DecodeError(`Cannot decompress body: unknown compression "${type.slice(0, 100)}"`);
    }
  } catch (error) {
    if (error instanceof DecodeError) throw error;
    const isBomb = (error as { code?: unknown }).code === "ERR_BUFFER_TOO_LARGE";
    throw isBomb
      ? new DecodeError(`Cannot decompress body: more than ${maxOutputLength} bytes unpacked`)
      : broken(type);
  }
  if (unpacked === null) {
    throw new DecodeError(`Cannot decompress body: ${type} is not supported; send gzip, brotli or zstd`);
  }
  // The runtime takes brotli and zstd data that ends early for a whole: something must come out at least.
  if (unpacked.length === 0) throw broken(type);
  return plain(unpacked);
}

function broken(type: string): DecodeError {
  return new DecodeError(`Cannot decompress body: broken ${type.slice(0, 100)} data`);
}

function pack(bytes: Uint8Array, type: string, name: string): Uint8Array {
  switch (type) {
    case "application/x-gzip":
      return zlib().deflateSync(bytes);
    case "application/x-brotli":
      return zlib().brotliCompressSync(bytes);
    case "application/zstd":
      return zlib().zstdCompressSync(bytes);
    case "application/x-bz2":
    case "application/x-lzma":
      throw new EncodeError(`Cannot compress: "${name}" is not supported; use gzip, brotli or zstd`);
  }
  throw new EncodeError(`Cannot compress: unknown compression "${name}"`);
}

/** Node's Buffer as what the rest of the house passes around. */
function plain(buffer: Uint8Array): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}
