/** The product and version that a server reports in `connection.start`. */

import type { AmqpTable } from "../wire/mod.ts";

/** A server's product and version. */
export class AmqpProduct {
  readonly isLavin: boolean;
  readonly #isRabbit: boolean;
  readonly #major: number;
  readonly #minor: number;

  /** Takes the server properties of `connection.start`. */
  constructor({ product, version }: AmqpTable) {
    this.#isRabbit = product === "RabbitMQ";
    this.isLavin = product === "LavinMQ";
    const [major = 0, minor = 0] = String(version ?? "").split(".").map((part) =>
      Number.parseInt(part, 10) || 0
    );
    this.#major = major;
    this.#minor = minor;
  }

  /** Returns true for RabbitMQ of this version or a later one. */
  isRabbitFrom(major: number, minor: number): boolean {
    return this.#isRabbit && (this.#major > major || (this.#major === major && this.#minor >= minor));
  }
}
