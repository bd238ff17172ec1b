/**
 * A gate in front of an NBD server: clients name an export and the generation under which they use it, and from the moment when a
 * generation is fenced, older ones have nothing done any more. docs/gate.md says what is guaranteed.
 *
 *     client --"disk0@7"--> gate --"disk0"--> NBD server           fence(disk0, 8): @7 and older are refused, for good
 *
 * Only exports that were fenced once may be used: a server behind may know a disk by many names.
 */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type { ConnectionOptions, SecureContextOptions } from 'node:tls';
import { HostError, OperatorError } from '../../../base/errors.ts';
import { listenAt, Newcomers, peerCertificates, secureAsServer } from '../../streams/index.ts';
import type { DiskLock } from '../disk-lock.ts';
import type { ByteStream } from '../nbd/byte-stream.ts';
import { NbdConnection } from '../nbd/connection.ts';
import type { ExportInfo } from '../nbd/handshake.ts';
import { dialNbd, tlsOf } from '../nbd/open-nbd.ts';
import { CMD, REP_ERR } from '../nbd/protocol.ts';
import { type NbdServer, parseNbdUri } from '../nbd/uri.ts';
import { checkExport, checkGeneration, parseGatedName } from './export-name.ts';
import { Generations, passed } from './generations.ts';
import { lockState } from './lock-state.ts';
import { Passage } from './passage.ts';
import { Refusal, receiveHands } from './server-handshake.ts';

const CONNECTIONS_MAX = 128;
const HANDSHAKE_MS = 10_000;
const KEEP_ALIVE_MS = 15_000;
/** For a server behind that answers no more. */
const CLOSE_MS = 2000;

export interface GateOptions {
  /** Where clients come: `nbd+unix:///?socket=PATH`, or `nbd://HOST:PORT` (port 0: any); `nbds:` and `nbds+unix:` for those that use TLS. */
  readonly listen: string;
  /** For those: the folder with ca.pem, cert.pem, key.pem. Clients show a certificate of that authority. */
  readonly tls?: string;
  /** The server behind; its URI names no export. */
  readonly upstream: string;
  /** Where the generations are kept; one gate at a time. */
  readonly stateFolder: string;
  /** Of clients at once, 128 by default; more are closed as they come. */
  readonly mostConnections?: number;
}

export interface FenceResult {
  readonly generation: number;
  /**
   * `answered`: the server behind has answered every older write. `flushed`: it has gone with some unanswered, or the gate was
   * started since; a later flush, on a new connection, is answered.
   */
  readonly proof: 'answered' | 'flushed';
}

export interface GateReport {
  readonly connections: number;
  /** Requests, and connections, of generations that are over. */
  readonly refused: number;
  readonly exports: readonly { readonly name: string; readonly generation: number; readonly connections: number }[];
}

/** A client that may have something outstanding behind. */
interface Guest {
  readonly exportName: string;
  readonly generation: number;
  readonly passage: Passage;
  /** Nothing is sent on any more, and all is answered, or counted as lost. */
  readonly over: Promise<void>;
}

/** A client's export, with the connection behind. */
interface Entered {
  readonly exportName: string;
  readonly generation: number;
  readonly behind: NbdConnection;
  readonly info: ExportInfo;
}

/** Changes of an export that were sent on and never answered. */
interface Doubt {
  /** The least of those they were of. */
  readonly generation: number;
  /** Another one for each that is lost. */
  readonly serial: number;
}

export class StorageGate implements AsyncDisposable {
  readonly #upstream: NbdServer;
  readonly #upstreamTls: ConnectionOptions | undefined;
  readonly #certificates: SecureContextOptions | undefined;
  readonly #generations: Generations;
  readonly #lock: DiskLock;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Those of them that are in the handshake. */
  readonly #newcomers: Newcomers;
  readonly #guests = new Set<Guest>();
  readonly #doubts = new Map<string, Doubt>();
  #refused = 0;

  private constructor(
    options: GateOptions,
    upstream: NbdServer,
    certificates: SecureContextOptions | undefined,
    generations: Generations,
    lock: DiskLock,
  ) {
    this.#upstream = upstream;
    this.#upstreamTls = tlsOf(upstream);
    this.#certificates = certificates;
    this.#generations = generations;
    this.#lock = lock;
    // The gate before this one may have ended with something outstanding.
    for (const name of generations.entries.keys()) this.#doubt(name, 0);
    const most = options.mostConnections ?? CONNECTIONS_MAX;
    this.#newcomers = new Newcomers(most);
    this.#server = createServer((socket) => {
      // One that does not come through the handshake gives way.
      if (this.#sockets.size >= most && !this.#newcomers.dropOldest()) return void socket.destroy();
      this.#newcomers.add(socket);
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket)).on('error', () => {});
      socket.setNoDelay(true);
      // A host that vanished gives its place back.
      socket.setKeepAlive(true, KEEP_ALIVE_MS);
      void this.#serve(socket).catch(() => socket.destroy());
    });
  }

  /** Throws OperatorError `nbd-uri`, `gate-upstream`, `gate-in-use`, `gate-state`, or what the system says of the address. */
  static async open(options: GateOptions): Promise<StorageGate> {
    const upstream = parseNbdUri(options.upstream);
    const listen = parseNbdUri(options.listen);
    if (upstream.exportName !== '' || listen.exportName !== '') {
      throw new OperatorError(
        'gate-upstream',
        'a gate listens, and has its server, at addresses without an export',
        'Write nbd+unix:///?socket=PATH or nbd://HOST:PORT; clients name the export.',
      );
    }
    const certificates = listen.tls ? peerCertificates(options.tls) : undefined;
    const lock = await lockState(options.stateFolder);
    try {
      const generations = await Generations.open(options.stateFolder);
      const gate = new StorageGate(options, upstream, certificates, generations, lock);
      await listenAt(gate.#server, listen.address);
      return gate;
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** Where it listens, if that is TCP. */
  get port(): number | undefined {
    const address = this.#server.address();
    return typeof address === 'object' ? address?.port : undefined;
  }

  /**
   * From this call on, generations of the export below `generation` are refused; resolves when that is so for good, and everything
   * older that was sent on is over. Throws OperatorError `gate-generation-passed` when a later one is, or comes, in force;
   * HostError `gate-unsettled` when the server behind has to be asked and cannot: it is in force all the same, ask again.
   */
  async fence(exportName: string, generation: number): Promise<FenceResult> {
    checkExport(exportName);
    checkGeneration(generation);
    const kept = this.#generations.raise(exportName, generation);
    const older = [...this.#guests].filter((guest) => guest.exportName === exportName && guest.generation < generation);
    for (const { passage } of older) passage.fence();
    await Promise.all([kept, ...older.map((guest) => guest.over)]);
    const doubt = this.#doubts.get(exportName);
    const proof = doubt !== undefined && doubt.generation < generation ? 'flushed' : 'answered';
    if (doubt !== undefined && proof === 'flushed') await this.#settle(exportName, doubt);
    const inForce = this.#generations.lowest(exportName) ?? generation;
    if (inForce > generation) throw passed(exportName, generation, inForce);
    return { generation, proof };
  }

  report(): GateReport {
    const exports = [...this.#generations.entries].map(([name, generation]) => {
      const connections = [...this.#guests].filter((guest) => guest.exportName === name).length;
      return { name, generation, connections };
    });
    return { connections: this.#sockets.size, refused: this.#refused, exports };
  }

  /** Clients are closed, and what they had sent on is waited for, within reason: the next gate takes it as in doubt anyway. */
  async close(): Promise<void> {
    const closed = once(this.#server.close(), 'close');
    const guests = [...this.#guests];
    for (const { passage } of guests) passage.close();
    for (const socket of this.#sockets) socket.destroy();
    const timer = setTimeout(() => {
      for (const { passage } of guests) passage.abandon();
    }, CLOSE_MS);
    await Promise.all(guests.map((guest) => guest.over));
    clearTimeout(timer);
    await closed;
    this.#lock.release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #serve(client: Socket): Promise<void> {
    const certificates = this.#certificates;
    const timer = setTimeout(() => client.destroy(), HANDSHAKE_MS);
    const secure = certificates && ((socket: Socket) => secureAsServer(socket, certificates));
    const choose = (name: string): Promise<Entered | Refusal> => this.#enter(name, client);
    const hands = await receiveHands(client, choose, secure).finally(() => clearTimeout(timer));
    if (hands !== undefined) await this.#pass(hands.socket, hands.stream, hands.chosen);
  }

  /** A client's wish to use an export, before there is a connection behind. */
  async #enter(name: string, client: Socket): Promise<Entered | Refusal> {
    const asked = parseGatedName(name);
    if (asked === undefined) return new Refusal(REP_ERR.UNKNOWN, 'Name it EXPORT@GENERATION');
    const lowest = this.#generations.lowest(asked.exportName);
    if (lowest === undefined) return new Refusal(REP_ERR.UNKNOWN, 'no generation of that export was ever let in');
    if (asked.generation < lowest) return this.#tooOld(asked.generation, lowest);
    // It knows a disk: from here on it has a place of its own.
    this.#newcomers.delete(client);
    try {
      const { exportName } = asked;
      const behind = new NbdConnection(await dialNbd({ ...this.#upstream, exportName }, this.#upstreamTls));
      const inForce = this.#generations.lowest(exportName) ?? 0;
      if (asked.generation >= inForce) return { ...asked, behind, info: behind.info };
      behind.disconnect();
      return this.#tooOld(asked.generation, inForce);
    } catch (error) {
      const isTold = error instanceof OperatorError && error.code === 'nbd-export';
      return isTold
        ? new Refusal(REP_ERR.UNKNOWN, 'the server behind does not give that export')
        : new Refusal(REP_ERR.SHUTDOWN, 'the server behind cannot be reached');
    }
  }

  #tooOld(generation: number, lowest: number): Refusal {
    this.#refused++;
    return new Refusal(REP_ERR.POLICY, `generation ${generation} is over: ${lowest} is the lowest one`);
  }

  async #pass(socket: Socket, stream: ByteStream, { exportName, generation, behind }: Entered): Promise<void> {
    // A fence may have come since the export was given.
    if (generation < (this.#generations.lowest(exportName) ?? 0)) {
      behind.disconnect();
      return void socket.destroySoon();
    }
    const passage = new Passage({
      ...{ client: socket, stream, behind },
      refused: () => {
        this.#refused++;
      },
    });
    const over = passage.over.then(({ isInDoubt }) => {
      // Before whoever waits for it looks.
      if (isInDoubt) this.#doubt(exportName, generation);
      this.#guests.delete(guest);
    });
    const guest: Guest = { exportName, generation, over, passage };
    this.#guests.add(guest);
    await over;
  }

  #doubt(exportName: string, generation: number): void {
    const before = this.#doubts.get(exportName);
    this.#doubts.set(exportName, {
      generation: Math.min(generation, before?.generation ?? generation),
      serial: (before?.serial ?? 0) + 1,
    });
  }

  /** Has the server behind confirm a flush on a connection that is newer than all that was lost. */
  async #settle(exportName: string, doubt: Doubt): Promise<void> {
    try {
      const behind = new NbdConnection(await dialNbd({ ...this.#upstream, exportName }, this.#upstreamTls));
      try {
        if (behind.info.canFlush) await behind.send({ command: CMD.FLUSH, offset: 0, sizeBytes: 0 });
      } finally {
        behind.disconnect();
      }
    } catch (cause) {
      throw new HostError(
        'gate-unsettled',
        `older generations of export ${JSON.stringify(exportName)} are refused, but the server behind cannot confirm that all they sent is over`,
        { cause },
      );
    }
    // What was lost in the meantime is asked for again.
    if (this.#doubts.get(exportName) === doubt) this.#doubts.delete(exportName);
  }
}
