/**
 * A host for tests: TCP services and clients, UDP peers, a resolver, all in simulated time. It checks the ports'
 * contract as it goes: nothing is delivered to a paused socket, nothing happens on a socket that was given up.
 */
import assert from 'node:assert/strict';
import type {
  DnsPort,
  Listener,
  NetworkPorts,
  SocketFailure,
  TcpListenEvents,
  TcpSocket,
  TcpSocketEvents,
  UdpSocket,
  UdpSocketEvents,
} from './ports.ts';
import type { Simulation } from './simulation.testing.ts';

const CHUNK_BYTES = 65536;

/** The far end of a TCP connection of the network's, and the network's own end of it. */
export class FakeConnection implements TcpSocket {
  readonly address: string;
  readonly port: number;
  /** What came from the guest, in order. */
  readonly received: Uint8Array[] = [];
  receivedBytes = 0;
  guestEnded = false;
  resetByNetwork = false;
  /** How many bytes the far end takes in a millisecond; 0 for none. */
  readBytesPerMs = Number.POSITIVE_INFINITY;
  onData: (bytes: Uint8Array) => void = () => {};
  onGuestEnd: () => void = () => {};
  /** The most bytes that waited in the host for the far end. */
  mostPendingBytes = 0;
  readonly #simulation: Simulation;
  readonly #events: TcpSocketEvents;
  #outgoing: Uint8Array[] = [];
  #outgoingBytes = 0;
  #incoming: Uint8Array[] = [];
  #incomingBytes = 0;
  #paused = true;
  #ending = false;
  #endQueued = false;
  #gone = false;
  #delivering = false;
  #draining = false;

  constructor(simulation: Simulation, events: TcpSocketEvents, address: string, port: number) {
    this.#simulation = simulation;
    this.#events = events;
    this.address = address;
    this.port = port;
  }

  /** Bytes that the far end has sent and the network has not taken yet. */
  get unsentBytes(): number {
    return this.#outgoingBytes;
  }

  get paused(): boolean {
    return this.#paused;
  }

  get gone(): boolean {
    return this.#gone;
  }

  /** The far end sends. */
  transmit(bytes: Uint8Array): void {
    this.#outgoing.push(bytes);
    this.#outgoingBytes += bytes.length;
    this.#deliverLater();
  }

  /** The far end sends its FIN. */
  finish(): void {
    this.#ending = true;
    this.#deliverLater();
  }

  /** The far end resets. */
  fail(reason: SocketFailure = 'reset'): void {
    this.#simulation.after(0, () => {
      if (this.#gone) return;
      this.#gone = true;
      this.#events.failed(reason);
    });
  }

  /** Everything received, as one array. */
  contents(): Uint8Array {
    return Uint8Array.from(this.received.flatMap((chunk) => [...chunk]));
  }

  write(bytes: Uint8Array): void {
    assert.ok(!this.#gone, 'written to a socket that is gone');
    assert.ok(!this.#endQueued, 'written after end');
    this.#incoming.push(bytes.slice());
    this.#incomingBytes += bytes.length;
    this.mostPendingBytes = Math.max(this.mostPendingBytes, this.#incomingBytes);
    this.#drainLater();
  }

  end(): void {
    assert.ok(!this.#endQueued, 'ended twice');
    this.#endQueued = true;
    this.#drainLater();
  }

  reset(): void {
    this.#gone = true;
    this.resetByNetwork = true;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#deliverLater();
  }

  #deliverLater(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    this.#simulation.after(0, () => {
      this.#delivering = false;
      if (this.#gone || this.#paused) return;
      const chunk = this.#outgoing.shift();
      if (chunk !== undefined) {
        if (chunk.length > CHUNK_BYTES) this.#outgoing.unshift(chunk.subarray(CHUNK_BYTES));
        const piece = chunk.slice(0, CHUNK_BYTES);
        this.#outgoingBytes -= piece.length;
        this.#events.data(piece);
        piece.fill(0xee);
        this.#deliverLater();
      } else if (this.#ending) {
        this.#ending = false;
        this.#events.ended();
      }
    });
  }

  #drainLater(): void {
    if (this.#draining) return;
    this.#draining = true;
    this.#simulation.after(this.readBytesPerMs === Number.POSITIVE_INFINITY ? 0 : 1, () => {
      this.#draining = false;
      if (this.#gone) return;
      let room = this.readBytesPerMs;
      let taken = 0;
      while (room > 0) {
        const chunk = this.#incoming.shift();
        if (chunk === undefined) break;
        const piece = chunk.subarray(0, room);
        if (piece.length < chunk.length) this.#incoming.unshift(chunk.subarray(piece.length));
        room -= piece.length;
        taken += piece.length;
        this.received.push(piece);
        this.receivedBytes += piece.length;
        this.onData(piece);
      }
      this.#incomingBytes -= taken;
      if (taken > 0) this.#events.drained(taken);
      if (this.#incoming.length > 0) this.#drainLater();
      else if (this.#endQueued && !this.guestEnded) {
        this.guestEnded = true;
        this.onGuestEnd();
      }
    });
  }
}

export class FakeUdpSocket implements UdpSocket {
  readonly sent: { bytes: Uint8Array; address: string; port: number }[] = [];
  readonly events: UdpSocketEvents;
  readonly bind: { readonly address: string; readonly port: number } | undefined;
  closed = false;
  readonly #onSend: (socket: FakeUdpSocket, bytes: Uint8Array, address: string, port: number) => void;

  constructor(
    bind: { readonly address: string; readonly port: number } | undefined,
    events: UdpSocketEvents,
    onSend: (socket: FakeUdpSocket, bytes: Uint8Array, address: string, port: number) => void,
  ) {
    this.bind = bind;
    this.events = events;
    this.#onSend = onSend;
  }

  send(bytes: Uint8Array, address: string, port: number): void {
    assert.ok(!this.closed, 'sent through a closed socket');
    const copy = bytes.slice();
    this.sent.push({ bytes: copy, address, port });
    this.#onSend(this, copy, address, port);
  }

  close(): void {
    assert.ok(!this.closed, 'closed twice');
    this.closed = true;
  }
}

export class FakeHost {
  readonly simulation: Simulation;
  /** Services by "address:port"; a connection to anything else is refused. */
  readonly services = new Map<string, (connection: FakeConnection) => void>();
  /** Addresses that cannot be reached, and why. */
  readonly failures = new Map<string, SocketFailure>();
  readonly connections: FakeConnection[] = [];
  readonly listeners = new Map<string, TcpListenEvents>();
  readonly portsInUse = new Set<string>();
  readonly udpSockets: FakeUdpSocket[] = [];
  /** UDP services by "address:port": the answer to a datagram. */
  readonly udpServices = new Map<string, (bytes: Uint8Array) => Uint8Array | undefined>();
  readonly hosts = new Map<string, readonly string[]>();
  /** Answers a DNS query; undefined for a host without nameservers. */
  resolver: ((query: Uint8Array) => Uint8Array | undefined) | undefined;
  /** The resolver hears and never answers. */
  silentResolver = false;
  /** Echo requests that wait for an answer. */
  readonly echoes: {
    readonly address: string;
    readonly data: Uint8Array;
    readonly done: (answered: boolean) => void;
  }[] = [];
  readonly ports: NetworkPorts;

  /** `icmp`: the host can send echo requests. */
  constructor(simulation: Simulation, icmp = false) {
    this.simulation = simulation;
    this.ports = {
      ...(icmp && { icmp: { echo: (address, data, done) => this.echoes.push({ address, data, done }) } }),
      clock: simulation,
      timers: simulation,
      random: simulation.random,
      tcp: {
        connect: (address, port, events) => this.#connect(address, port, events),
        listen: (address, port, events) => this.#listen(address, port, events),
      },
      udp: { open: (bind, events) => this.#openUdp(bind, events) },
      dns: this.#dns(),
    };
  }

  /** A client of a published port. */
  client(listener: string, address: string, port: number): FakeConnection | undefined {
    const events = this.listeners.get(listener);
    let connection: FakeConnection | undefined;
    this.simulation.after(0, () =>
      events?.connection({
        address,
        port,
        accept: (socketEvents) => {
          connection = new FakeConnection(this.simulation, socketEvents, address, port);
          this.connections.push(connection);
          return connection;
        },
      }),
    );
    this.simulation.until(() => connection !== undefined, 1);
    return connection;
  }

  #connect(address: string, port: number, events: TcpSocketEvents): TcpSocket {
    const connection = new FakeConnection(this.simulation, events, address, port);
    this.connections.push(connection);
    const service = this.services.get(`${address}:${port}`);
    const failure = this.failures.get(address) ?? (service === undefined ? 'refused' : undefined);
    this.simulation.after(1, () => {
      if (connection.gone) return;
      if (failure !== undefined) connection.fail(failure);
      else {
        events.connected();
        service?.(connection);
      }
    });
    return connection;
  }

  #listen(address: string, port: number, events: TcpListenEvents): Listener {
    const key = `${address}:${port}`;
    this.simulation.after(0, () => {
      if (this.portsInUse.has(key)) events.failed(new Error(`in use: ${key}`));
      else {
        this.listeners.set(key, events);
        events.listening(port);
      }
    });
    return { close: () => this.listeners.delete(key) };
  }

  #openUdp(bind: { readonly address: string; readonly port: number } | undefined, events: UdpSocketEvents): UdpSocket {
    const socket = new FakeUdpSocket(bind, events, (from, bytes, address, port) => {
      const answer = this.udpServices.get(`${address}:${port}`)?.(bytes);
      if (answer !== undefined) this.simulation.after(1, () => from.closed || events.message(answer, address, port));
    });
    this.udpSockets.push(socket);
    if (bind !== undefined) this.simulation.after(0, () => events.listening(bind.port));
    return socket;
  }

  #dns(): DnsPort {
    return {
      hostsLookup: (name) => this.hosts.get(name),
      available: () => this.resolver !== undefined,
      exchange: (query, done) => {
        const copy = query.slice();
        if (!this.silentResolver) this.simulation.after(1, () => done(this.resolver?.(copy)));
      },
      tcpServer: () => (this.resolver === undefined ? undefined : { address: '192.0.2.53', port: 53 }),
    };
  }
}
