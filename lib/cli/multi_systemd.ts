/** placeholder */
import type { RealWorld } from "../platform/mod.ts";
/** placeholder */
export function systemd(_world: RealWorld, _words: readonly string[]): Promise<number> {
  return Promise.resolve(1);
}
