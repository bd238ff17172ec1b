/**
 * A certificate that signs itself, for a daemon at the loopback address or on a network of friends: X.509 version 3 (RFC
 * 5280) with an ECDSA key on P-256. Node signs, and has no writer of certificates; the few structures of DER (ITU-T X.690)
 * that one needs are here. Whoever connects is given the certificate's file to trust, and nothing else is trusted.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { isIP } from 'node:net';

const DAY_MS = 86_400_000;
/** Clocks differ a little. */
const EARLIER_MS = DAY_MS;

export interface SelfSigned {
  /** PEM. */
  readonly cert: string;
  readonly key: string;
}

/** `hosts`: names and addresses, which become its alternative names; the first is its subject's. */
export function selfSigned(hosts: readonly string[], days = 825): SelfSigned {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const publicKey = createPublicKey(createPrivateKey(key)).export({ type: 'spki', format: 'der' });
  const name = sequence(set(sequence(oid(OID.commonName), utf8(hosts[0] ?? 'kagemusha'))));
  const now = Date.now();
  const body = sequence(
    explicit(0, integer(Buffer.from([2]))), // version 3
    integer(positive(randomBytes(16))),
    ECDSA_SHA256,
    name,
    sequence(time(now - EARLIER_MS), time(now + days * DAY_MS)),
    name,
    publicKey,
    explicit(3, sequence(...extensions(hosts))),
  );
  const signature = sign('sha256', body, key);
  const certificate = sequence(body, ECDSA_SHA256, bitString(signature));
  const lines = certificate.toString('base64').replaceAll(/(.{64})/g, '$1\n');
  return { cert: `-----BEGIN CERTIFICATE-----\n${lines.trimEnd()}\n-----END CERTIFICATE-----\n`, key };
}

const OID = {
  commonName: '2.5.4.3',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
} as const;

const TAG = {
  integer: 2,
  bitString: 3,
  octets: 4,
  oid: 6,
  utf8: 12,
  sequence: 0x30,
  set: 0x31,
  time: 23,
  truth: 1,
} as const;
const ECDSA_SHA256 = sequence(oid(OID.ecdsaWithSha256));

function extensions(hosts: readonly string[]): Buffer[] {
  const names = hosts.map((host) =>
    isIP(host) === 0 ? tagged(0x82, Buffer.from(host, 'latin1')) : tagged(0x87, addressBytes(host)),
  );
  return [
    extension(OID.basicConstraints, true, sequence()),
    extension(OID.extendedKeyUsage, false, sequence(oid(OID.serverAuth))),
    extension(OID.subjectAltName, false, sequence(...names)),
  ];
}

function extension(id: string, isCritical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(isCritical ? [tagged(TAG.truth, Buffer.from([0xff]))] : []), tagged(TAG.octets, value));
}

function tagged(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const { length } = body;
  const bytes = length < 0x80 ? [] : length < 0x100 ? [length] : [length >> 8, length & 0xff];
  const head = bytes.length === 0 ? [length] : [0x80 | bytes.length, ...bytes];
  return Buffer.concat([Buffer.from([tag, ...head]), body]);
}

function sequence(...parts: readonly Uint8Array[]): Buffer {
  return tagged(TAG.sequence, ...parts);
}

function set(...parts: readonly Uint8Array[]): Buffer {
  return tagged(TAG.set, ...parts);
}

function explicit(number: number, inner: Buffer): Buffer {
  return tagged(0xa0 | number, inner);
}

function integer(bytes: Buffer): Buffer {
  return tagged(TAG.integer, bytes);
}

/** The sign is in the first bit, and leading zeros are not allowed. */
function positive(bytes: Buffer): Buffer {
  bytes[0] = (bytes.readUInt8(0) & 0x7f) | 0x40;
  return bytes;
}

function bitString(bytes: Uint8Array): Buffer {
  return tagged(TAG.bitString, Buffer.from([0]), bytes);
}

function utf8(text: string): Buffer {
  return tagged(TAG.utf8, Buffer.from(text));
}

/** UTCTime, to the second, as section 4.1.2.5 wants it for years before 2050. */
function time(ms: number): Buffer {
  const digits = new Date(ms)
    .toISOString()
    .replaceAll(/[-:T]|\.\d+/g, '')
    .slice(2);
  return tagged(TAG.time, Buffer.from(digits));
}

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second, ...rest.flatMap(base128)];
  return tagged(TAG.oid, Buffer.from(bytes));
}

/** Seven bits a byte, the highest first; the eighth bit says that there is another. */
function base128(value: number): number[] {
  const bytes = [value & 0x7f];
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) bytes.unshift((rest & 0x7f) | 0x80);
  return bytes;
}

function addressBytes(host: string): Buffer {
  if (isIP(host) === 4) return Buffer.from(host.split('.').map(Number));
  const [head = '', tail] = host.split('::');
  const groups = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
  const [before, after] = [groups(head), tail === undefined ? [] : groups(tail)];
  const zeros: number[] = Array(Math.max(0, 8 - before.length - after.length)).fill(0);
  return Buffer.from([...before, ...zeros, ...after].flatMap((group) => [group >> 8, group & 0xff]));
}
