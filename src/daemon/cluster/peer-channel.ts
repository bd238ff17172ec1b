/** What hosts of the cluster ask of each other, beside heartbeats and the store: requests with answers, and files. */
export interface PeerAsk {
  /** The name in the peer's certificate. */
  readonly from: string;
  readonly name: string;
  readonly body: unknown;
  readonly files: AsyncIterable<Uint8Array> | undefined;
}

export interface PeerChannel {
  /** Answers peers' requests of that kind. */
  serve(kind: string, answer: (ask: PeerAsk) => Promise<object>): void;
  /** Rejects with HostError `peer-unreachable`, or the peer's own OperatorError. */
  ask(host: string, kind: string, name: string, body?: object, signal?: AbortSignal): Promise<unknown>;
  /** One file, streamed; the receiver gets it as `files`. */
  send(host: string, kind: string, name: string, file: string, body?: object, signal?: AbortSignal): Promise<unknown>;
}
