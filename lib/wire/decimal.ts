/**
 * AMQP's decimals, which headers may contain. Source: AMQP 0-9-1 specification 4.2.5.5; py-amqp 5.3.1
 * serialization.
 */

const VALUE_MAX = 2 ** 32 - 1;
const SCALE_MAX = 255;

/** A decimal number: `value` / 10 ^ `scale`. `scale` 0 to 255, `value` an unsigned 32-bit number. */
export class AmqpDecimal {
  readonly scale: number;
  readonly value: number;
  constructor(scale: number, value: number) {
    this.scale = scale;
    this.value = value;
  }

  /** Returns the decimal of a text such as "1.50"; null if AMQP cannot represent it. */
  static of(text: string): AmqpDecimal | null {
    const [, whole, fraction = ""] = /^(\d+)(?:\.(\d+))?$/.exec(text) ?? [];
    const value = Number(`${whole}${fraction}`);
    return whole === undefined || value > VALUE_MAX || fraction.length > SCALE_MAX
      ? null
      : new AmqpDecimal(fraction.length, value);
  }

  /** Returns a text such as "1.50". */
  toString(): string {
    if (this.scale === 0) return String(this.value);
    const digits = String(this.value).padStart(this.scale + 1, "0");
    return `${digits.slice(0, -this.scale)}.${digits.slice(-this.scale)}`;
  }

  /** Returns the same as `toString`, for serializers without decimals. */
  toJSON(): string {
    return this.toString();
  }
}
