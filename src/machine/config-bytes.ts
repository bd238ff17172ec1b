/** A board's configuration as bytes in shared memory, for threads that receive no message. */
import type { BoardConfig } from './board-shape.ts';

const WIDE = '$bigint';

export function writeConfig(config: BoardConfig): Uint8Array {
  const text = JSON.stringify(config, (_, value: unknown) =>
    typeof value === 'bigint' ? { [WIDE]: value.toString() } : value,
  );
  return new TextEncoder().encode(text);
}

/** `bytes`: what writeConfig gave, written by the machine's own thread. */
export function readConfig(bytes: Uint8Array): BoardConfig {
  return JSON.parse(new TextDecoder().decode(bytes), (_, value: unknown) =>
    typeof value === 'object' && value !== null && WIDE in value ? BigInt(String(value[WIDE])) : value,
  ) as BoardConfig;
}
