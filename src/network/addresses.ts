/**
 * Addresses of the network room: IPv4 addresses, prefixes and MAC addresses, as numbers inside and as text at the
 * edges. An IPv4 address is an unsigned 32-bit number in host order (10.0.2.15 is 0x0a00020f); a MAC address is a
 * 48-bit number, which a JavaScript number holds exactly. IPv6 is left out.
 */

/** An IPv4 address as an unsigned 32-bit number, most significant byte first. */
export type Ipv4 = number;
/** A MAC address as a 48-bit number, most significant byte first. */
export type Mac = number;
/** An IPv4 prefix, 10.0.2.0/24; `address` has no bit set outside `mask`. */
export interface Ipv4Prefix {
  readonly address: Ipv4;
  readonly mask: Ipv4;
}

export const ANY_ADDRESS: Ipv4 = 0;
export const LIMITED_BROADCAST: Ipv4 = 0xffffffff;
export const LOOPBACK_ADDRESS: Ipv4 = 0x7f000001;
export const BROADCAST_MAC: Mac = 0xffffffffffff;

/** Reads dotted decimal ("10.0.2.15"); undefined for anything else, leading zeros included (they may mean octal). */
export function parseIpv4(text: string): Ipv4 | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (match === null) return undefined;
  let address = 0;
  for (const part of match.slice(1)) {
    if (Number(part) > 255 || (part.length > 1 && part.startsWith('0'))) return undefined;
    address = address * 256 + Number(part);
  }
  return address;
}

export function formatIpv4(address: Ipv4): string {
  return `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** Reads "10.0.2.0/24" (host bits are cleared); a bare address means /24, as QEMU's `net=` reads it. */
export function parseIpv4Prefix(text: string): Ipv4Prefix | undefined {
  const [addressText = '', bitsText, ...rest] = text.split('/');
  const address = parseIpv4(addressText);
  if (address === undefined || rest.length > 0 || (bitsText !== undefined && !/^\d{1,2}$/.test(bitsText)))
    return undefined;
  const bits = bitsText === undefined ? 24 : Number(bitsText);
  if (bits > 32) return undefined;
  const mask = bits === 0 ? 0 : (-1 << (32 - bits)) >>> 0;
  return { address: (address & mask) >>> 0, mask };
}

/** Whether the prefix covers the address. */
export function contains(prefix: Ipv4Prefix, address: Ipv4): boolean {
  return (address & prefix.mask) >>> 0 === prefix.address;
}

/** The prefix's directed broadcast address. */
export function broadcastOf(prefix: Ipv4Prefix): Ipv4 {
  return (prefix.address | ~prefix.mask) >>> 0;
}

export function isMulticast(address: Ipv4): boolean {
  return address >>> 28 === 0xe;
}

export function isLoopback(address: Ipv4): boolean {
  return address >>> 24 === 127;
}

/** Reads "52:55:0a:00:02:02"; undefined for anything else. */
export function parseMac(text: string): Mac | undefined {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) return undefined;
  return Number.parseInt(text.replaceAll(':', ''), 16);
}

export function formatMac(mac: Mac): string {
  return mac
    .toString(16)
    .padStart(12, '0')
    .replace(/(..)(?!$)/g, '$1:');
}

/** Whether the group bit is set: broadcast and multicast. */
export function isGroupMac(mac: Mac): boolean {
  return (Math.floor(mac / 2 ** 40) & 1) === 1;
}

/** Reads the six bytes at `at`. */
export function readMac(view: DataView, at: number): Mac {
  return view.getUint16(at) * 2 ** 32 + view.getUint32(at + 2);
}

export function writeMac(view: DataView, at: number, mac: Mac): void {
  view.setUint16(at, Math.floor(mac / 2 ** 32));
  view.setUint32(at + 2, mac % 2 ** 32);
}
