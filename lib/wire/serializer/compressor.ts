/**
 * The compressors, by name and by the content type in the header `compression`.
 *
 * "gzip" is a zlib stream, as in Celery. Bzip2 and lzma can be read (decompressor.ts) but not written.
 *
 * Source: kombu 5.6.2 compression.py.
 */

import { nodeZlib as zlib } from "../../base/mod.ts";
import { EncodeError } from "../errors.ts";

/** The content types by the known names. */
export const COMPRESSION_TYPES: ReadonlyMap<string, string> = new Map([
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

/** The content types that can be written. */
const WRITTEN: ReadonlySet<string> = new Set([
  "application/x-gzip",
  "application/x-brotli",
  "application/zstd",
]);

/**
 * Compresses bytes. `type` in the result is the value for the header `compression`. Throws EncodeError for an
 * unknown compressor, and for one that cannot be written.
 */
export function compress(bytes: Uint8Array, name: string): { body: Uint8Array; type: string } {
  const type = compressionType(name);
  return { body: plainBytes(pack(bytes, type, name)), type };
}

/** Returns false for unknown names and for compressions that can only be read. */
export function canCompress(name: string): boolean {
  const type = name.includes("/") ? name : COMPRESSION_TYPES.get(name);
  return type !== undefined && WRITTEN.has(type);
}

/**
 * Returns the content type for a compressor's name; a content type is returned as it is. Throws EncodeError
 * for an unknown name.
 */
export function compressionType(name: string): string {
  const type = name.includes("/") ? name : COMPRESSION_TYPES.get(name);
  if (type === undefined) throw new EncodeError(`Cannot compress: unknown compression "${name}"`);
  return type;
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
      throw new EncodeError(
        `Cannot compress: "${name}" is read here, but not written; use gzip, brotli or zstd`,
      );
  }
  throw new EncodeError(`Cannot compress: unknown compression "${name}"`);
}

/** Returns Node's Buffer as a plain Uint8Array on the same memory. */
export function plainBytes(buffer: Uint8Array): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}
