/**
 * Isolates as slots. All of them run in one child process, their host (child/thread_host.ts).
 *
 * If an isolate goes on running after it was ended, its host is draining: new slots are opened in a new host,
 * the slots in the old one are replaced as soon as their jobs have ended, and the old host is killed when its
 * last slot has ended.
 */

import { type Disarm, errorText, MAIN_PROCESS, type World } from "../../base/mod.ts";
import { fromTypedJson, toJson } from "../../wire/mod.ts";
import { encodeFrame, FRAME, type Frame, FrameReader, FrameWriter } from "./frame.ts";
import { dropFileJournals, journalPaths, type JournalReader, openFileJournal } from "./journal.ts";
import type { Link, LinkEvents, LinkFactory, SlotEnd } from "./link.ts";
import type { SlotInit } from "./slot_message.ts";

/** Milliseconds that a host has to report a slot's end. */
const ANSWER_MS = 5000;

/** Makes the factory. No host is started before the first `open`. `processes` starts the hosts. */
export function hostedLinks(world: World, processes: LinkFactory): LinkFactory {
  return new HostedLinks(world, processes);
}

class HostedLinks implements LinkFactory {
  #world: World;
  #processes: LinkFactory;
  /** The host in which new slots are opened. */
  #host: Host | null = null;
  #hosts = new Set<Host>();

  constructor(world: World, processes: LinkFactory) {
    this.#world = world;
    this.#processes = processes;
  }

  open(init: Omit<SlotInit, "watchParent">, events: LinkEvents): Link {
    return this.#current(init).open(init, events);
  }

  prepare(init: Omit<SlotInit, "watchParent">): void {
    if (this.#host !== null && this.#host.size > 0) this.#host = null;
    this.#current(init);
  }

  async close(): Promise<void> {
    const hosts = [...this.#hosts];
    for (const host of hosts) host.kill();
    await Promise.all(hosts.map(({ ended }) => ended));
    await this.#processes.close();
  }

  #current(init: Omit<SlotInit, "watchParent">): Host {
    if (this.#host !== null) return this.#host;
    const host = new Host(this.#world, this.#processes, init, {
      onDraining: () => {
        if (this.#host === host) this.#host = null;
      },
      onEmpty: () => {
        if (this.#host !== host) host.kill();
      },
      onEnded: () => {
        this.#hosts.delete(host);
        if (this.#host === host) this.#host = null;
      },
    });
    this.#hosts.add(host);
    this.#host = host;
    return host;
  }
}

interface HostOwner {
  onDraining(): void;
  onEmpty(): void;
  onEnded(): void;
}

interface HostedSlot {
  readonly link: HostedLink;
  readonly events: LinkEvents;
  /** Set when the slot's end was requested: disarms the deadline for the host's report of that end. */
  disarm: Disarm | null;
}

class Host {
  readonly world: World;
  #owner: HostOwner;
  #link: Link;
  #slots = new Map<string, HostedSlot>();
  #ended = Promise.withResolvers<void>();
  #count = 0;
  #isDraining = false;
  #reader = new FrameReader();
  #writer = new FrameWriter();
  #onFrame = (frame: Frame): void => this.#take(frame);

  constructor(
    world: World,
    processes: LinkFactory,
    init: Omit<SlotInit, "watchParent">,
    owner: HostOwner,
  ) {
    this.world = world;
    this.#owner = owner;
    this.#link = processes.open({ ...init, name: MAIN_PROCESS, isHost: true }, {
      onBytes: (bytes) => this.#reader.feed(bytes, this.#onFrame),
      onEnded: (end) => this.#onEnded(end),
    });
  }

  get pid(): number {
    return this.#link.pid;
  }

  /** Resolves when the host's process has ended. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Number of slots in the host. */
  get size(): number {
    return this.#slots.size;
  }

  open(init: Omit<SlotInit, "watchParent">, events: LinkEvents): Link {
    const slot = String(++this.#count);
    const link = new HostedLink(this, slot);
    this.#slots.set(slot, { link, events, disarm: null });
    this.#link.send(encodeFrame(FRAME.hostOpen, slot, toJson(init)));
    return link;
  }

  relay(slot: string, bytes: Uint8Array): void {
    this.#writer.append(FRAME.hostRelay, slot, "", bytes);
    this.#link.send(this.#writer.take());
  }

  end(slot: string): void {
    this.#link.send(encodeFrame(FRAME.hostKill, slot));
    const hosted = this.#slots.get(slot);
    if (hosted === undefined || hosted.disarm !== null) return;
    const { clock } = this.world;
    hosted.disarm = clock.arm(clock.monoMs() + ANSWER_MS, () => this.kill());
  }

  drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    this.#owner.onDraining();
    for (const { events } of [...this.#slots.values()]) events.onDraining?.();
    this.#leaveIfEmpty();
  }

  kill(): void {
    this.#link.kill("SIGKILL");
  }

  #take(frame: Frame): void {
    const slot = this.#slots.get(frame.head);
    if (slot === undefined) return;
    if (frame.type === FRAME.hostRelayed) {
      this.#deliver(frame.head, slot.events, frame.tail ?? new Uint8Array(0));
    } else if (frame.type === FRAME.hostEnded) {
      const end = fromTypedJson(frame.text) as SlotEnd;
      this.#slots.delete(frame.head);
      slot.disarm?.();
      // Drain first, so that the next slot is opened in another host.
      if (end.isStuck) this.drain();
      slot.events.onEnded(end);
      this.#leaveIfEmpty();
    }
  }

  /**
   * Delivers bytes of one slot. If they are invalid only that slot is ended; the others in the host go on.
   */
  #deliver(slot: string, events: LinkEvents, bytes: Uint8Array): void {
    try {
      events.onBytes(bytes);
    } catch (error) {
      this.world.log.error(`An isolate sent invalid data: ${errorText(error)}`);
      this.end(slot);
    }
  }

  #leaveIfEmpty(): void {
    if (this.#slots.size === 0) this.#owner.onEmpty();
  }

  #onEnded(end: SlotEnd): void {
    this.#link.release();
    this.#owner.onEnded();
    const slots = [...this.#slots.values()];
    this.#slots.clear();
    for (const { events, disarm } of slots) {
      disarm?.();
      events.onEnded(end);
    }
    this.#ended.resolve();
  }
}

class HostedLink implements Link {
  journal: JournalReader | null = null;
  /** Paths at which the slot was asked to create a journal, until it has reported one. */
  #unopened: readonly string[] = [];
  #host: Host;
  #slot: string;

  constructor(host: Host, slot: string) {
    this.#host = host;
    this.#slot = slot;
  }

  get pid(): number {
    return this.#host.pid;
  }

  askJournal(): void {
    this.#unopened = journalPaths(this.#host.world);
    this.send(encodeFrame(FRAME.journal, toJson(this.#unopened)));
  }

  openJournal(path: string): void {
    this.journal = openFileJournal(path);
    this.#unopened = [];
  }

  send(bytes: Uint8Array): void {
    this.#host.relay(this.#slot, bytes);
  }

  kill(): void {
    this.#host.end(this.#slot);
  }

  drain(): void {
    this.#host.drain();
  }

  release(): void {
    this.journal?.close();
    dropFileJournals(this.#unopened);
  }
}
