/**
 * The few calls of the C library that a daemon needs and the runtime lacks: replacing the program under the
 * same pid, closing the standard streams for good, becoming another user with all its groups, and sending
 * datagrams to the service manager, also to abstract names. The library is opened on first use.
 */

import { errorText, OperatingError } from "../base/mod.ts";

const SYMBOLS = {
  execv: { parameters: ["buffer", "buffer"], result: "i32" },
  chdir: { parameters: ["buffer"], result: "i32" },
  open: { parameters: ["buffer", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  dup2: { parameters: ["i32", "i32"], result: "i32" },
  setgroups: { parameters: ["usize", "buffer"], result: "i32" },
  initgroups: { parameters: ["buffer", "u32"], result: "i32" },
  setgid: { parameters: ["u32"], result: "i32" },
  setuid: { parameters: ["u32"], result: "i32" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  sendto: { parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"], result: "isize" },
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
  // glibc 2.34 and later.
  close_range: { parameters: ["u32", "u32", "u32"], result: "i32", optional: true },
} as const;

type Libc = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

const O_RDWR = 2;
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const CLOCK_MONOTONIC = 1;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const CLOSE_RANGE_CLOEXEC = 4;
/** The size of `sun_path` in Linux's `sockaddr_un`. */
const SUN_PATH_BYTES = 108;

let opened: Libc | null = null;

function libc(): Libc {
  if (opened) return opened;
  const name = Deno.build.os === "darwin" ? "libSystem.B.dylib" : "libc.so.6";
  try {
    return opened = Deno.dlopen(name, SYMBOLS).symbols;
  } catch (error) {
    throw new OperatingError(`Cannot use the system's C library (${name}): ${errorText(error)}`, {
      cause: error,
    });
  }
}

/**
 * Replaces this program by another under the same pid, with the same environment and standard streams, in
 * `folder`. Never returns; throws OperatingError on failure. No code of this program runs afterwards, so
 * close everything first.
 */
export function execProgram(program: string, args: readonly string[], folder: string): never {
  const c = libc();
  const words = [program, ...args].map(cString);
  // One more entry than words: the list ends with a null pointer.
  const list = new BigUint64Array(words.length + 1);
  words.forEach((word, n) => list[n] = BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(word))));
  c.chdir(cString(folder));
  c.execv(words[0]!, new Uint8Array(list.buffer));
  throw new OperatingError(
    `Cannot start "${program}" again as user ${Deno.uid()}: it must be a program that this user may read and run`,
  );
}

/**
 * Points the three standard streams at /dev/null, so that a reader of our output gets its end. Throws
 * OperatingError.
 */
export function closeStandardStreams(): void {
  const c = libc();
  const targets = new Set([1, 2].map(descriptorTarget));
  const fd = c.open(cString("/dev/null"), O_RDWR);
  if (fd < 0) throw new OperatingError("Cannot open /dev/null");
  for (const stream of [0, 1, 2]) c.dup2(fd, stream);
  // The runtime has copies of the streams; an open copy of a pipe would keep its reader waiting.
  for (const copy of descriptors()) {
    const target = descriptorTarget(copy);
    if (target !== null && targets.has(target) && target.startsWith("pipe:")) c.dup2(fd, copy);
  }
  if (fd > 2) c.close(fd);
}

/** Returns the open descriptors above the standard streams; none if the system does not list them. */
function descriptors(): number[] {
  try {
    return [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => Number(name)).filter((fd) => fd > 2);
  } catch {
    return [];
  }
}

function descriptorTarget(fd: number): string | null {
  try {
    return Deno.readLinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return null; // closed meanwhile
  }
}

/**
 * Prevents children started later from inheriting any descriptor except the standard streams. Has no effect
 * on old systems.
 */
export function keepDescriptorsFromChildren(): void {
  try {
    libc().close_range?.(3, 0xffffffff, CLOSE_RANGE_CLOEXEC);
  } catch {
    // Then children inherit descriptors that a shell left open, which is harmless.
  }
}

/**
 * Changes to a user and group for good. The supplementary groups become those of `name`, or `gid` alone if it
 * is null. Throws OperatingError if the system refuses: only root may do it.
 */
export function setIds(uid: number, gid: number, name: string | null): void {
  const c = libc();
  const groups = name === null ? c.setgroups(1n, Uint32Array.of(gid)) : c.initgroups(cString(name), gid);
  // The group first: it could not be changed without root's rights.
  if (
    groups !== 0 || c.setgid(gid) !== 0 || c.setuid(uid) !== 0 || Deno.uid() !== uid || Deno.gid() !== gid
  ) {
    throw new OperatingError(`Cannot become user ${name ?? uid}: only root may change user and group`);
  }
}

/**
 * Sends one datagram to a unix socket, by path, or by abstract name if it begins with "@". Never waits.
 * Returns false if it was not delivered.
 */
export function sendDatagram(path: string, text: string): boolean {
  const c = libc();
  const name = new TextEncoder().encode(path);
  if (name.length >= SUN_PATH_BYTES) return false;
  const address = new Uint8Array(2 + SUN_PATH_BYTES);
  new DataView(address.buffer).setUint16(0, AF_UNIX, true);
  address.set(name, 2);
  const isAbstract = path.startsWith("@");
  if (isAbstract) address[2] = 0;
  const bytes = new TextEncoder().encode(text);
  const fd = c.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  // An abstract name has the length that the address says; a path ends with a zero byte.
  const size = 2 + name.length + (isAbstract ? 0 : 1);
  const sent = c.sendto(fd, bytes, BigInt(bytes.length), MSG_DONTWAIT | MSG_NOSIGNAL, address, size);
  c.close(fd);
  return Number(sent) === bytes.length;
}

/** Returns the system's monotonic clock in microseconds, as systemd expects it. */
export function monotonicMicros(): bigint {
  const time = new BigInt64Array(2);
  libc().clock_gettime(CLOCK_MONOTONIC, new Uint8Array(time.buffer));
  return time[0]! * 1_000_000n + time[1]! / 1000n;
}

function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\0`);
}
