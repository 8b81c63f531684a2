/** Waiting until replicas have the published messages. */

import type { World } from "../../base/mod.ts";
import { type RedisConnection, type ReplicaWait, type ReplySink, toOperatingError } from "../../redis/mod.ts";
import { type Reply, RespError } from "../../wire/mod.ts";

const REPLICAS_BEHIND =
  "The broker's replicas do not follow their master: messages published now are lost if the master dies";

/** A sink that counts the replies that it expects. */
export interface ExpectingSink extends ReplySink {
  expect(): void;
}

/** The waits of one publishing connection. */
export class PublishWait {
  #world: World;
  #connection: RedisConnection;
  #wait: ReplicaWait;

  constructor(world: World, connection: RedisConnection, wait: ReplicaWait) {
    this.#world = world;
    this.#connection = connection;
    this.#wait = wait;
  }

  /** Appends a wait for everything sent before it; `sink` expects one more reply, which is never an error. */
  send(sink: ExpectingSink): void {
    const { command } = this.#wait;
    if (command === null) return;
    sink.expect();
    this.#connection.send(command, {
      onReply: (reply) => {
        this.#read(reply);
        sink.onReply(null);
      },
      onLost: (error) => sink.onLost(error),
    });
  }

  #read(reply: Reply): void {
    const outcome = this.#wait.read(reply);
    if (outcome === "behind") this.#world.log.warning(REPLICAS_BEHIND);
    else if (outcome === "unavailable" && reply instanceof RespError) {
      this.#world.log.info(toOperatingError(reply, "wait for replicas").message);
    }
  }
}
