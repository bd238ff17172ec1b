/**
 * Published ports at work: a listener or bound socket of the host for every rule, whose clients are led to the
 * guest. A rule that cannot be bound is reported to whoever published it and leaves nothing behind.
 */

import { OperatorError } from '../base/errors.ts';
import type { Ipv4 } from './addresses.ts';
import { contains, formatIpv4 } from './addresses.ts';
import type { GuestLink } from './guest-link.ts';
import type { Listener, NetworkPorts, UdpSocket } from './ports.ts';
import { formatPublish, type PublishRule } from './publish.ts';
import type { TcpNat } from './tcp-nat.ts';
import type { UdpNat } from './udp-nat.ts';

/** What became of a rule: the host port in use, or the error for the operator. */
export type PublishOutcome =
  | { readonly kind: 'listening'; readonly hostPort: number }
  | { readonly kind: 'failed'; readonly error: Error };

/** A rule that is in force. */
export interface PublishedPort {
  readonly rule: PublishRule;
  /** The port in use; undefined until the host has bound it. */
  readonly hostPort: number | undefined;
}

interface Entry {
  readonly rule: PublishRule;
  hostPort: number | undefined;
  close(): void;
}

export class Publisher {
  readonly #link: GuestLink;
  readonly #ports: NetworkPorts;
  readonly #tcp: TcpNat;
  readonly #udp: UdpNat;
  readonly #entries = new Set<Entry>();

  constructor(link: GuestLink, ports: NetworkPorts, tcp: TcpNat, udp: UdpNat) {
    this.#link = link;
    this.#ports = ports;
    this.#tcp = tcp;
    this.#udp = udp;
  }

  get size(): number {
    return this.#entries.size;
  }

  list(): PublishedPort[] {
    return [...this.#entries].map(({ rule, hostPort }) => ({ rule, hostPort }));
  }

  /** Puts a rule in force; `done` is called once, later. Throws OperatorError `bad-publish` for a guest address outside the network. */
  publish(rule: PublishRule, done: (outcome: PublishOutcome) => void): void {
    const { config } = this.#link;
    const guest = rule.guestAddress ?? config.guest;
    if (!contains(config.prefix, guest) || guest === config.gateway || guest === config.dns)
      throw new OperatorError(
        'bad-publish',
        `Cannot publish ${formatPublish(rule)}: ${formatIpv4(guest)} is not a guest's address.`,
        `Name an address of the network ${formatIpv4(config.prefix.address)}, or none for ${formatIpv4(config.guest)}.`,
      );
    const entry: Entry = { rule, hostPort: undefined, close: () => {} };
    this.#entries.add(entry);
    const listening = (hostPort: number): void => {
      if (!this.#entries.has(entry)) return;
      entry.hostPort = hostPort;
      this.#link.counters.publish.listening += 1;
      done({ kind: 'listening', hostPort });
    };
    const failed = (error: Error): void => {
      if (!this.#entries.delete(entry)) return;
      this.#link.counters.publish.failed += 1;
      done({ kind: 'failed', error });
    };
    if (rule.protocol === 'tcp') this.#listen(entry, guest, listening, failed);
    else this.#bind(entry, guest, listening, failed);
  }

  /** Closes the listener of a rule; connections that stand stay. False when no such rule is in force. */
  unpublish(rule: PublishRule): boolean {
    for (const entry of this.#entries) {
      if (formatPublish(entry.rule) !== formatPublish(rule)) continue;
      this.#entries.delete(entry);
      entry.close();
      return true;
    }
    return false;
  }

  /** Closes every listener. */
  close(): void {
    for (const entry of this.#entries) entry.close();
    this.#entries.clear();
  }

  #listen(entry: Entry, guest: Ipv4, listening: (port: number) => void, failed: (error: Error) => void): void {
    const { publish } = this.#link.counters;
    const { rule } = entry;
    const listener: Listener = this.#ports.tcp.listen(formatIpv4(rule.hostAddress), rule.hostPort, {
      listening,
      failed,
      connection: (client) => {
        publish.tcpConnections += 1;
        if (!this.#tcp.accept(client, guest, rule.guestPort)) publish.tcpRejected += 1;
      },
    });
    entry.close = () => listener.close();
  }

  #bind(entry: Entry, guest: Ipv4, listening: (port: number) => void, failed: (error: Error) => void): void {
    const { rule } = entry;
    const bind = { address: formatIpv4(rule.hostAddress), port: rule.hostPort };
    const socket: UdpSocket = this.#ports.udp.open(bind, {
      listening,
      message: (bytes, address, port) => this.#udp.fromClient(socket, guest, rule.guestPort, address, port, bytes),
      failed: (error) => {
        this.#udp.forgetClients(socket);
        failed(error);
      },
    });
    entry.close = () => {
      this.#udp.forgetClients(socket);
      socket.close();
    };
  }
}
