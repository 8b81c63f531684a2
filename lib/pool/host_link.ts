/**
 * Isolates as slots, all of them in one child process, their host (thread_host.ts).
 *
 * Where one of them was ended and goes on nonetheless, the host is worn: the next slots are opened in a new one, the
 * slots still in it are replaced as soon as their jobs allow, and with the last of them it is killed.
 */

import type { World } from "../base/mod.ts";
import { encodeFrame, FRAME, type Frame, FrameReader, FrameWriter } from "./frame.ts";
import { dropFileJournals, journalPaths, type JournalReader, openFileJournal } from "./journal.ts";
import type { Link, LinkEvents, LinkFactory, SlotEnd } from "./link.ts";
import type { SlotInit } from "./slot_message.ts";

/** Under which name the host's own output is logged. */
const MAIN_PROCESS = "MainProcess";
/** Milliseconds a host has to say that a slot has ended. */
const ANSWER_MS = 5000;

/** Makes the factory; no host is started before the first `open`. `processes` starts the hosts. */
export function hostedLinks(world: World, processes: LinkFactory): LinkFactory {
  return new HostedLinks(world, processes);
}

class HostedLinks implements LinkFactory {
  readonly isProcess = false;
  #world: World;
  #processes: LinkFactory;
  /** The one that new slots are opened in. */
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

  close(): void {
    for (const host of this.#hosts) host.kill();
    this.#processes.close();
  }

  #current(init: Omit<SlotInit, "watchParent">): Host {
    if (this.#host !== null) return this.#host;
    const host = new Host(this.#world, this.#processes, init, {
      onWorn: () => {
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
  onWorn(): void;
  onEmpty(): void;
  onEnded(): void;
}

class Host {
  readonly world: World;
  #owner: HostOwner;
  #link: Link;
  #slots = new Map<string, { link: HostedLink; events: LinkEvents }>();
  #count = 0;
  #isWorn = false;
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

  /** Slots in it. */
  get size(): number {
    return this.#slots.size;
  }

  open(init: Omit<SlotInit, "watchParent">, events: LinkEvents): Link {
    const slot = String(++this.#count);
    const link = new HostedLink(this, slot);
    this.#slots.set(slot, { link, events });
    this.#link.send(encodeFrame(FRAME.hostOpen, slot, JSON.stringify(init)));
    return link;
  }

  relay(slot: string, bytes: Uint8Array): void {
    this.#writer.append(FRAME.hostRelay, slot, "", bytes);
    this.#link.send(this.#writer.take());
  }

  end(slot: string): void {
    this.#link.send(encodeFrame(FRAME.hostKill, slot));
    const { clock } = this.world;
    clock.arm(clock.monoMs() + ANSWER_MS, () => {
      if (this.#slots.has(slot)) this.kill();
    });
  }

  wear(): void {
    if (this.#isWorn) return;
    this.#isWorn = true;
    this.#owner.onWorn();
    for (const { events } of [...this.#slots.values()]) events.onWorn?.();
    this.#leaveIfEmpty();
  }

  kill(): void {
    this.#link.kill("SIGKILL");
  }

  #take(frame: Frame): void {
    const slot = this.#slots.get(frame.head);
    if (slot === undefined) return;
    if (frame.type === FRAME.hostRelayed) slot.events.onBytes(frame.tail ?? new Uint8Array(0));
    else if (frame.type === FRAME.hostEnded) {
      const end = JSON.parse(frame.text) as SlotEnd;
      this.#slots.delete(frame.head);
      // First, so that what is opened next is opened elsewhere.
      if (end.isStuck) this.wear();
      slot.events.onEnded(end);
      this.#leaveIfEmpty();
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
    for (const { events } of slots) events.onEnded(end);
  }
}

class HostedLink implements Link {
  journal: JournalReader | null = null;
  /** Where the slot was asked to make one, until it has. */
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
    this.send(encodeFrame(FRAME.journal, JSON.stringify(this.#unopened)));
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

  wear(): void {
    this.#host.wear();
  }

  release(): void {
    this.journal?.close();
    dropFileJournals(this.#unopened);
  }
}
