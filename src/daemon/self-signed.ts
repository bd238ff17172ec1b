/**
 * A certificate that signs itself, for a daemon at the loopback address or on a network of friends. Whoever connects is given the
 * certificate's file to trust, and nothing else is trusted.
 */
import { type Certified, makeCertificate } from '../host/index.ts';

/** `hosts`: names and addresses, which become its alternative names; the first is its subject's. */
export function selfSigned(hosts: readonly string[], days = 825): Certified {
  return makeCertificate({ commonName: hosts[0] ?? 'kagemusha', hosts, usages: ['server'], days });
}
