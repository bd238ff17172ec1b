/** What a machine asks of the host that it runs in, whichever that is: time, timers, chance. */
export interface HostPorts {
  /** Wall-clock time, in milliseconds since 1970. */
  wallMs(): number;
  /** Calls back once, `delayMs` later or a little after that; the function returned takes it back. */
  after(delayMs: number, callback: () => void): () => void;
  /** Calls back soon, but not before the caller has returned. */
  defer(callback: () => void): void;
  /** Fills all of `into`, which is ordinary memory, with bytes that guests may use as secrets. */
  fillRandom(into: Uint8Array): void;
  /** A request of the guest's failed on the host, as the guest is told: for the operator. */
  diskFailed?(disk: string, operation: string, cause: unknown): void;
}
