/**
 * The host's door to a guest's vsock: streams to and from its ports. It lives on the I/O thread; its methods may be called
 * at any time there, also from its own events, without the device's lock. Events come later, from within a service, and
 * must not wait. The shapes are those of a TCP socket of src/network, so that what serves one serves the other.
 */

/** Why a stream could not be made or has ended early. */
export type VsockFailure = 'refused' | 'reset' | 'no-driver' | 'too-many';

export interface VsockEvents {
  /** The stream stands. */
  connected?(): void;
  /** Bytes from the guest, lent for the call. Not while paused. */
  data(bytes: Uint8Array): void;
  /** Of the bytes written, this many more are with the guest. */
  drained?(byteCount: number): void;
  /** The guest will send no more. */
  ended(): void;
  /** The stream is gone; no other event follows. */
  failed(reason: VsockFailure): void;
}

export interface VsockStream {
  /** Ports of this stream, guest's and host's. */
  readonly guestPort: number;
  readonly hostPort: number;
  /** Queues a copy of `bytes`; `drained` says when it has left. Whoever writes without bound waits for that. */
  write(bytes: Uint8Array): void;
  /** No more writes: the guest reads the end behind the queued bytes. */
  end(): void;
  /** Gives the stream up at once; no event follows. */
  reset(): void;
  /** No more `data` until `resume`: the guest may send as much as the buffer holds, and then waits. */
  pause(): void;
  resume(): void;
}

/** The guest wants a stream to a port of the host's. It waits for one of the two calls. */
export interface VsockRequest {
  readonly hostPort: number;
  readonly guestPort: number;
  accept(events: VsockEvents): VsockStream;
  refuse(): void;
}
