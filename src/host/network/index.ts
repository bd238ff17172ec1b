/**
 * The door of the host's network: the user-mode network on Node's sockets, its published ports opened and their
 * errors reported before the guest starts.
 */
import { randomFillSync } from 'node:crypto';
import {
  type Deliver,
  type NetworkOptions,
  type NetworkPorts,
  type PublishRule,
  UserNetwork,
} from '../../network/index.ts';
import { type NodeDnsOptions, NodeDnsPort } from './dns-port.ts';
import { NodeTcpPort } from './tcp-port.ts';
import { NodeUdpPort } from './udp-port.ts';

export { type NodeDnsOptions, NodeDnsPort } from './dns-port.ts';
export { NodeTcpPort } from './tcp-port.ts';
export { NodeUdpPort } from './udp-port.ts';

export interface NodeNetworkPorts extends NetworkPorts {
  /** Closes every socket that is still open. */
  close(): void;
}

/** The ports of a user-mode network on this host. Its timers do not keep the process alive; its sockets do. */
export function nodeNetworkPorts(dnsOptions: NodeDnsOptions = {}): NodeNetworkPorts {
  const tcp = new NodeTcpPort();
  const udp = new NodeUdpPort();
  const dns = new NodeDnsPort(dnsOptions);
  const word = new Uint32Array(1);
  return {
    clock: { nowMs: () => performance.now() },
    timers: {
      after(delayMs, fire) {
        const timer = setTimeout(fire, Math.ceil(delayMs));
        timer.unref();
        return { cancel: () => clearTimeout(timer) };
      },
    },
    random: () => randomFillSync(word)[0] ?? 0,
    tcp,
    udp,
    dns,
    close() {
      tcp.close();
      udp.close();
      dns.close();
    },
  };
}

export interface RunningNetwork extends AsyncDisposable {
  readonly network: UserNetwork;
  /** Each published rule with the host port in use, in the order of the options. */
  readonly published: readonly { readonly rule: PublishRule; readonly hostPort: number }[];
  /** Closes the network and every socket; the guests' connections are reset. */
  close(): void;
}

/**
 * Starts a user-mode network whose frames for the guest go to `deliver`, and binds the published ports of its
 * options. Rejects with an OperatorError (`bad-network`, `bad-publish`, `port-in-use`, `port-not-permitted`,
 * `address-not-available`) and leaves nothing open then.
 */
export async function startUserNetwork(
  config: NetworkOptions,
  deliver: Deliver,
  dnsOptions: NodeDnsOptions = {},
): Promise<RunningNetwork> {
  const ports = nodeNetworkPorts(dnsOptions);
  const network = new UserNetwork({ config, ports }, deliver);
  const close = (): void => {
    network.close();
    ports.close();
  };
  try {
    const published = await Promise.all(
      network.config.publish.map(async (rule) => ({ rule, hostPort: await publish(network, rule) })),
    );
    return { network, published, close, [Symbol.asyncDispose]: async () => close() };
  } catch (error) {
    close();
    throw error;
  }
}

function publish(network: UserNetwork, rule: PublishRule): Promise<number> {
  return new Promise((resolve, reject) => {
    network.publish(rule, (outcome) => {
      if (outcome.kind === 'listening') resolve(outcome.hostPort);
      else reject(outcome.error);
    });
  });
}
