/**
 * The name server at 10.0.2.3: answers A and AAAA questions about names of the host's table itself and hands every
 * other query, as it is, to the host's nameservers. When the host has none, or none answers, the guest is told so
 * (SERVFAIL) and need not wait for its own timeout. Nothing is cached. Over TCP (tcp-nat.ts) queries go to a
 * nameserver directly.
 */
import { type Ipv4, isLoopback, parseIpv4 } from './addresses.ts';
import { visibleAddress } from './destinations.ts';
import {
  DNS_CLASS_IN,
  DNS_HEADER_BYTES,
  DNS_TYPE_A,
  DNS_TYPE_AAAA,
  DNS_TYPE_ANY,
  type DnsQuestion,
  decodeQuestion,
  dnsId,
  dnsOpcode,
  encodeResponse,
  isDnsResponse,
  RCODE_FORMAT_ERROR,
  RCODE_NOT_IMPLEMENTED,
  RCODE_OK,
  RCODE_SERVER_FAILURE,
} from './dns.ts';
import type { GuestLink } from './guest-link.ts';
import type { DnsPort, NetworkPorts, Timer } from './ports.ts';

const HOSTS_TTL_SECONDS = 60;
/** A table may list a name many times; a response has to fit a plain datagram (RFC 1035, 4.2.1). */
const MAX_ANSWERS = 8;
/** No sensible query is longer; RFC 1035 bounds a name to 255 bytes, and EDNS options are small. */
const MAX_QUERY_BYTES = 4096;

export class DnsForwarder {
  readonly #link: GuestLink;
  readonly #ports: NetworkPorts;
  readonly #outstanding = new Map<string, Timer>();

  constructor(link: GuestLink, ports: NetworkPorts) {
    this.#link = link;
    this.#ports = ports;
  }

  /** Queries that wait for the host. */
  get size(): number {
    return this.#outstanding.size;
  }

  /** A query from `asker` (any text that tells askers apart), lent; `answer` is called with the response, if there is one. */
  query(asker: string, message: Uint8Array, answer: (response: Uint8Array) => void): void {
    const { dns } = this.#link.counters;
    dns.queries += 1;
    if (message.length < DNS_HEADER_BYTES || message.length > MAX_QUERY_BYTES || isDnsResponse(message)) {
      dns.malformed += 1;
      return;
    }
    const question = decodeQuestion(message);
    if (dnsOpcode(message) !== 0) {
      dns.refused += 1;
      answer(encodeResponse(message, undefined, RCODE_NOT_IMPLEMENTED));
    } else if (question === undefined) {
      dns.malformed += 1;
      answer(encodeResponse(message, undefined, RCODE_FORMAT_ERROR));
    } else {
      const known = this.#fromHosts(question);
      if (known === undefined) this.#forward(asker, message, question, answer);
      else {
        dns.answeredFromHosts += 1;
        answer(encodeResponse(message, question, RCODE_OK, known, HOSTS_TTL_SECONDS));
      }
    }
  }

  /** Forgets all queries; answers that still come are dropped. */
  close(): void {
    for (const timer of this.#outstanding.values()) timer.cancel();
    this.#outstanding.clear();
  }

  /** Addresses of a name in the host's table as guests reach them; empty for AAAA, undefined for unknown names. */
  #fromHosts(question: DnsQuestion): readonly Ipv4[] | undefined {
    const { type } = question;
    if (question.class !== DNS_CLASS_IN || (type !== DNS_TYPE_A && type !== DNS_TYPE_AAAA && type !== DNS_TYPE_ANY))
      return undefined;
    const texts = this.#ports.dns.hostsLookup(question.name);
    if (texts === undefined) return undefined;
    if (type === DNS_TYPE_AAAA) return [];
    const addresses = new Set<Ipv4>();
    for (const text of texts) {
      const address = parseIpv4(text);
      if (address === undefined) continue;
      // "localhost" is the guest itself (RFC 6761, 6.3); other names of the host's loopback are the host.
      const isItself = isLoopback(address) && question.name === 'localhost';
      addresses.add(isItself || !isLoopback(address) ? address : visibleAddress(this.#link.config, text));
    }
    return [...addresses].slice(0, MAX_ANSWERS);
  }

  #forward(asker: string, message: Uint8Array, question: DnsQuestion, answer: (response: Uint8Array) => void): void {
    const { dns } = this.#link.counters;
    const port: DnsPort = this.#ports.dns;
    const fail = (query: Uint8Array): void => {
      dns.serverFailures += 1;
      answer(encodeResponse(query, question, RCODE_SERVER_FAILURE));
    };
    if (!port.available()) {
      dns.noServer += 1;
      fail(message);
      return;
    }
    const id = dnsId(message);
    const key = `${asker}#${id}`;
    // The guest asks again while we still wait: one answer will do.
    if (this.#outstanding.has(key)) return;
    if (this.#outstanding.size >= this.#link.config.limits.dnsQueries) {
      dns.overLimit += 1;
      fail(message);
      return;
    }
    const query = message.slice();
    dns.forwarded += 1;
    const timer = this.#ports.timers.after(this.#link.config.limits.dnsTimeoutMs, () => {
      this.#outstanding.delete(key);
      dns.timedOut += 1;
      fail(query);
    });
    this.#outstanding.set(key, timer);
    port.exchange(query, (response) => {
      if (this.#outstanding.get(key) !== timer) return;
      this.#outstanding.delete(key);
      timer.cancel();
      if (response !== undefined && isDnsResponse(response) && dnsId(response) === id) {
        dns.answered += 1;
        answer(response);
        return;
      }
      if (response !== undefined) dns.badResponses += 1;
      fail(query);
    });
  }
}
