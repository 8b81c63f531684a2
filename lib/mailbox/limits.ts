/** How long a control message may be. */

import type { EncodedMessage } from "../wire/mod.ts";

/**
 * Characters or bytes of an encoded body. The longest honest message is `hello` with 50,000 revoked ids: about 6 MiB
 * as base64.
 */
export const CONTROL_BODY_MAX: number = 16 * 1024 * 1024;

/** True for a body that is not looked into. */
export function bodyTooLong(message: EncodedMessage): boolean {
  return message.body.length > CONTROL_BODY_MAX;
}
