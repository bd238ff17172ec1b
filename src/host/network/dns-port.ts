/**
 * The host's name resolution for the user-mode network: the hosts file is read when it has changed, queries go as
 * they are to the nameservers of resolv.conf, one after the other until one answers. Each query has a connected
 * socket of its own, so the kernel takes answers from that server alone and the source port is hard to guess.
 */
import { createSocket, type Socket } from 'node:dgram';
import { readFileSync, statSync } from 'node:fs';
import type { DnsPort } from '../../network/index.ts';
import { type Nameserver, parseHosts, parseResolvConf } from './resolver-files.ts';

export interface NodeDnsOptions {
  readonly resolvConf?: string;
  readonly hosts?: string;
  /** Used instead of those of resolv.conf. */
  readonly nameservers?: readonly Nameserver[];
  /** How long one nameserver may take. */
  readonly attemptMs?: number;
}

export class NodeDnsPort implements DnsPort {
  readonly #hosts: CachedFile<Map<string, string[]>>;
  readonly #resolvConf: CachedFile<Nameserver[]>;
  readonly #nameservers: readonly Nameserver[] | undefined;
  readonly #attemptMs: number;
  readonly #open = new Set<Socket>();

  constructor(options: NodeDnsOptions = {}) {
    this.#hosts = new CachedFile(options.hosts ?? '/etc/hosts', parseHosts);
    this.#resolvConf = new CachedFile(options.resolvConf ?? '/etc/resolv.conf', parseResolvConf);
    this.#nameservers = options.nameservers;
    this.#attemptMs = options.attemptMs ?? 3000;
  }

  hostsLookup(name: string): readonly string[] | undefined {
    return this.#hosts.read().get(name);
  }

  available(): boolean {
    return this.#servers().length > 0;
  }

  tcpServer(): Nameserver | undefined {
    return this.#servers()[0];
  }

  exchange(query: Uint8Array, done: (response: Uint8Array | undefined) => void): void {
    this.#ask(query.slice(), [...this.#servers()], done);
  }

  /** Gives up every query. */
  close(): void {
    for (const socket of this.#open) socket.close();
    this.#open.clear();
  }

  #servers(): readonly Nameserver[] {
    return this.#nameservers ?? this.#resolvConf.read();
  }

  #ask(query: Uint8Array, servers: Nameserver[], done: (response: Uint8Array | undefined) => void): void {
    const server = servers.shift();
    if (server === undefined) {
      process.nextTick(done, undefined);
      return;
    }
    const socket = createSocket(server.address.includes(':') ? 'udp6' : 'udp4');
    this.#open.add(socket);
    const finish = (response: Uint8Array | undefined): void => {
      if (!this.#open.delete(socket)) return;
      clearTimeout(timer);
      socket.close();
      if (response === undefined) this.#ask(query, servers, done);
      else done(response);
    };
    const timer = setTimeout(() => finish(undefined), this.#attemptMs);
    timer.unref();
    socket.on('error', () => finish(undefined));
    socket.on('message', (message) => {
      // Another query's answer is not ours; keep waiting.
      if (message[0] === query[0] && message[1] === query[1]) finish(message);
    });
    socket.connect(server.port, server.address, () => socket.send(query));
  }
}

/** A file that is parsed again when it has changed; an unreadable one counts as empty. */
class CachedFile<T> {
  readonly #path: string;
  readonly #parse: (text: string) => T;
  #stamp = '';
  #value: T;

  constructor(path: string, parse: (text: string) => T) {
    this.#path = path;
    this.#parse = parse;
    this.#value = parse('');
  }

  read(): T {
    const stamp = this.#stampNow();
    if (stamp === this.#stamp) return this.#value;
    this.#stamp = stamp;
    this.#value = this.#parse(stamp === '' ? '' : this.#text());
    return this.#value;
  }

  #stampNow(): string {
    const stat = statSync(this.#path, { throwIfNoEntry: false, bigint: true });
    return stat === undefined ? '' : `${stat.mtimeNs}/${stat.size}/${stat.ino}`;
  }

  #text(): string {
    try {
      return readFileSync(this.#path, 'utf8');
    } catch {
      return '';
    }
  }
}
