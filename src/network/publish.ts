/**
 * Published ports: which host port leads to which port of the guest. Two notations are read: the one that container
 * users know, `[HOSTIP:]HOSTPORT:GUESTPORT[/tcp|udp]`, and QEMU's `hostfwd=[tcp|udp]:[HOSTIP]:HOSTPORT-[GUESTIP]:GUESTPORT`.
 * Without a host address every address of the host listens, as both models do. Host port 0 takes a free one.
 */
import { OperatorError } from '../base/errors.ts';
import { ANY_ADDRESS, formatIpv4, type Ipv4, isMulticast, parseIpv4 } from './addresses.ts';

export interface PublishRule {
  readonly protocol: 'tcp' | 'udp';
  /** 0.0.0.0 for every address of the host. */
  readonly hostAddress: Ipv4;
  /** 0 for any free port. */
  readonly hostPort: number;
  /** Undefined for the configured guest address. */
  readonly guestAddress: Ipv4 | undefined;
  readonly guestPort: number;
}

const PUBLISH_FIX = 'Write it as [HOSTIP:]HOSTPORT:GUESTPORT[/tcp|udp], for example -p 127.0.0.1:8080:80.';
const HOSTFWD_FIX =
  'Write it as hostfwd=tcp:[HOSTIP]:HOSTPORT-[GUESTIP]:GUESTPORT, for example hostfwd=tcp:127.0.0.1:8080-:80.';

/** Reads the value of `-p`. Throws OperatorError `bad-publish`. */
export function parsePublish(text: string): PublishRule {
  const [addresses = '', protocol = 'tcp', ...rest] = text.split('/');
  const parts = addresses.split(':');
  if (rest.length > 0 || parts.length < 2 || parts.length > 3)
    throw bad(text, 'it does not have the form of a published port', PUBLISH_FIX);
  const [hostText = '', hostPortText = '', guestPortText = ''] = parts.length === 3 ? parts : ['', ...parts];
  return {
    protocol: protocolOf(protocol, text, PUBLISH_FIX),
    hostAddress: addressOf(hostText, text, PUBLISH_FIX) ?? ANY_ADDRESS,
    hostPort: portOf(hostPortText, 0, text, PUBLISH_FIX),
    guestAddress: undefined,
    guestPort: portOf(guestPortText, 1, text, PUBLISH_FIX),
  };
}

/** Reads the value of QEMU's `hostfwd=`. Throws OperatorError `bad-publish`. */
export function parseHostForward(text: string): PublishRule {
  const match = /^([a-z]*):([^:-]*):(\d*)-([^:]*):(\d*)$/.exec(text);
  if (match === null) throw bad(text, 'it does not have the form of a forwarded port', HOSTFWD_FIX);
  const [, protocol = '', hostText = '', hostPortText = '', guestText = '', guestPortText = ''] = match;
  return {
    protocol: protocolOf(protocol === '' ? 'tcp' : protocol, text, HOSTFWD_FIX),
    hostAddress: addressOf(hostText, text, HOSTFWD_FIX) ?? ANY_ADDRESS,
    hostPort: portOf(hostPortText, 0, text, HOSTFWD_FIX),
    guestAddress: addressOf(guestText, text, HOSTFWD_FIX),
    guestPort: portOf(guestPortText, 1, text, HOSTFWD_FIX),
  };
}

/** The notation of `-p`, for messages and `kage ps`. */
export function formatPublish(rule: PublishRule): string {
  return `${formatIpv4(rule.hostAddress)}:${rule.hostPort}:${rule.guestPort}/${rule.protocol}`;
}

function bad(text: string, why: string, fix: string): OperatorError {
  return new OperatorError('bad-publish', `Cannot read the published port "${text}": ${why}.`, fix);
}

function protocolOf(protocol: string, text: string, fix: string): 'tcp' | 'udp' {
  if (protocol !== 'tcp' && protocol !== 'udp') throw bad(text, `"${protocol}" is neither tcp nor udp`, fix);
  return protocol;
}

function portOf(portText: string, least: 0 | 1, text: string, fix: string): number {
  const port = Number(portText);
  if (!/^\d{1,5}$/.test(portText) || port > 65535 || port < least)
    throw bad(text, `"${portText}" is not a port from ${least} to 65535`, fix);
  return port;
}

function addressOf(addressText: string, text: string, fix: string): Ipv4 | undefined {
  if (addressText === '') return undefined;
  const address = parseIpv4(addressText);
  if (address === undefined || isMulticast(address)) throw bad(text, `"${addressText}" is not an IPv4 address`, fix);
  return address;
}
