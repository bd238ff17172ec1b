/**
 * A switch for the machines of a host, each a process of its own: they connect to its stream socket (`-netdev stream`, QEMU's
 * and ours), reach each other in it, and share its uplinks, whose paths fail over for all of them at once.
 *
 *     machine --stream--> port 1 \
 *     machine --stream--> port 2  switch --> uplinks, the preferred one first
 *
 * A peer that connects is a virtual interface, with the hardware addresses that it sends from. While no path is there,
 * nobody is let in, and who was in is cut off: so their guests see a carrier lost, and have it again when one is back.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { OperatorError } from '../../base/errors.ts';
import {
  type Failback,
  FrameDecoder,
  type InterfacePort,
  type NetdevOptions,
  type NetworkPaths,
  prefixed,
} from '../../network/index.ts';
import { MachineNetworks } from './machine-networks.ts';
import { listenForFrames, MOST_UNSENT_BYTES } from './uplinks/index.ts';

export interface HostSwitchOptions {
  /** Where to listen: a socket's path, or a port of TCP, on the loopback address unless `host` says otherwise. */
  readonly listen: Pick<NetdevOptions, 'path' | 'host' | 'port'>;
  /** The preferred one first; none: the machines reach each other alone. */
  readonly netdevs: readonly NetdevOptions[];
  readonly failback?: Failback;
  readonly failover?: boolean;
}

const NETWORK = 'switch';
const MOST_PEERS = 128;

export class HostSwitch implements AsyncDisposable {
  readonly #networks: MachineNetworks;
  readonly #uplinks: string[] = [];
  readonly #failback: Failback | undefined;
  readonly #peers = new Set<Socket>();
  #server: Server | undefined;
  #ports = 0;

  /** Opens the uplinks, and listens. Rejects with OperatorError, and leaves nothing open then. */
  static async start(options: HostSwitchOptions): Promise<HostSwitch> {
    const made = new HostSwitch(options);
    try {
      const netdevs = options.netdevs.length > 0 ? options.netdevs : [{ kind: 'internal' } as const];
      for (const netdev of netdevs) made.#uplinks.push(await made.#open(netdev));
      await made.#listen(options.listen);
      return made;
    } catch (error) {
      await made[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor({ failback, failover }: HostSwitchOptions) {
    this.#networks = new MachineNetworks(failover === undefined ? {} : { failover });
    this.#failback = failback;
  }

  get paths(): NetworkPaths {
    return this.#networks.paths;
  }

  /** The TCP port in use, where it listens on one. */
  get port(): number | undefined {
    const address = this.#server?.address();
    return typeof address === 'object' && address !== null ? address.port : undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server?.close();
    for (const peer of this.#peers) peer.destroy();
    this.#networks.close();
  }

  async #open(netdev: NetdevOptions): Promise<string> {
    if (netdev.kind === 'shared')
      throw new OperatorError('bad-usage', 'a switch shares nobody’s uplinks', 'Use another kind of -netdev');
    return await this.#networks.addUplink({ ...netdev, network: netdev.network ?? NETWORK }, NETWORK);
  }

  async #listen(where: HostSwitchOptions['listen']): Promise<void> {
    const server = createServer((socket) => this.#accept(socket));
    this.#server = server;
    await listenForFrames(server, where);
  }

  #accept(socket: Socket): void {
    if (this.#peers.size >= MOST_PEERS) {
      socket.destroy();
      return;
    }
    this.#ports += 1;
    this.#peers.add(socket);
    let port: InterfacePort | undefined;
    socket.on('error', () => {}); // `close` follows
    socket.once('close', () => {
      this.#peers.delete(socket);
      port?.remove();
    });
    socket.setNoDelay(true);
    port = this.paths.addInterface(
      {
        name: `port${this.#ports}`,
        uplinks: this.#uplinks.filter((name) => this.paths.report().uplinks.some((one) => one.name === name)),
        ...(this.#failback === undefined ? {} : { failback: this.#failback }),
      },
      {
        deliver: (frame) => {
          if (socket.destroyed || socket.writableLength > MOST_UNSENT_BYTES) return false;
          socket.write(prefixed(frame));
          return true;
        },
        setLinkUp: (up) => {
          if (!up) socket.destroy();
        },
      },
    );
    const taken = port;
    const decoder = new FrameDecoder((frame) => taken.receive(frame));
    socket.on('data', (chunk: Buffer) => {
      if (!decoder.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length))) socket.destroy();
    });
  }
}
