/** The two files that say how a host resolves names: resolv.conf(5) and hosts(5). Only what a forwarder needs. */

export interface Nameserver {
  readonly address: string;
  readonly port: number;
}

const DNS_PORT = 53;
/** As many as the C library reads. */
const MAX_NAMESERVERS = 3;

/** The nameservers of a resolv.conf, in order, IPv6 ones included. */
export function parseResolvConf(text: string): Nameserver[] {
  const servers: Nameserver[] = [];
  for (const line of text.split('\n')) {
    const address = /^\s*nameserver\s+([0-9a-fA-F.:]+(?:%\w+)?)\s*(?:[#;].*)?$/.exec(line)?.[1];
    if (address !== undefined) servers.push({ address, port: DNS_PORT });
  }
  return servers.slice(0, MAX_NAMESERVERS);
}

/** The IPv4 addresses of each name of a hosts file, names in lower case. */
export function parseHosts(text: string): Map<string, string[]> {
  const table = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [address, ...names] = (line.split('#')[0] ?? '').trim().split(/\s+/);
    if (address === undefined || !/^\d+\.\d+\.\d+\.\d+$/.test(address)) continue;
    for (const name of names) {
      const key = name.toLowerCase().replace(/\.$/, '');
      const addresses = table.get(key);
      if (addresses === undefined) table.set(key, [address]);
      else if (!addresses.includes(address)) addresses.push(address);
    }
  }
  return table;
}
