/**
 * Certificates as the project makes them: X.509 version 3 (RFC 5280), ECDSA keys on P-256. One signs itself, for a daemon or as an
 * authority, or is signed by an authority.
 */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import {
  bitString,
  contentOf,
  explicit,
  integer,
  octets,
  oid,
  parts,
  positive,
  sequence,
  set,
  tagged,
  truth,
  utcTime,
  utf8,
} from './der.ts';

const DAY_MS = 86_400_000;
/** Clocks differ a little. */
const EARLIER_MS = DAY_MS;

export interface CertificateWish {
  readonly commonName: string;
  /** Names and addresses that are its own: its alternative names. */
  readonly hosts?: readonly string[];
  /** What it is shown for; ignored of an authority. */
  readonly usages?: readonly ('server' | 'client')[];
  /** It signs others. */
  readonly isAuthority?: boolean;
  readonly days: number;
}

/** A certificate with its private key, PEM. */
export interface Certified {
  readonly cert: string;
  readonly key: string;
}

/** A new key, and its certificate; without an authority it signs itself. */
export function makeCertificate(wish: CertificateWish, authority?: Certified): Certified {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const name = sequence(set(sequence(oid(OID.commonName), utf8(wish.commonName))));
  const issuer = authority === undefined ? undefined : new X509Certificate(authority.cert);
  const now = Date.now();
  const body = sequence(
    explicit(0, integer(Buffer.from([2]))), // version 3
    integer(positive(randomBytes(16))),
    ECDSA_SHA256,
    issuer === undefined ? name : subjectOf(issuer),
    sequence(utcTime(now - EARLIER_MS), utcTime(now + wish.days * DAY_MS)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    explicit(3, sequence(...extensions(wish, publicKey, issuer?.publicKey ?? publicKey))),
  );
  const signature = sign('sha256', body, authority?.key ?? key);
  const lines = sequence(body, ECDSA_SHA256, bitString(signature))
    .toString('base64')
    .replaceAll(/(.{64})/g, '$1\n');
  return { cert: `-----BEGIN CERTIFICATE-----\n${lines.trimEnd()}\n-----END CERTIFICATE-----\n`, key };
}

const OID = {
  commonName: '2.5.4.3',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  subjectKey: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKey: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  server: '1.3.6.1.5.5.7.3.1',
  client: '1.3.6.1.5.5.7.3.2',
} as const;

const ECDSA_SHA256 = sequence(oid(OID.ecdsaWithSha256));
/** keyCertSign and cRLSign: bits 5 and 6 of seven. */
const SIGNS_OTHERS = bitString(Buffer.from([0b0000_0110]), 1);

function extensions(wish: CertificateWish, own: KeyObject, issuer: KeyObject): Buffer[] {
  const { hosts = [], usages = [], isAuthority = false } = wish;
  const names = hosts.map((host) =>
    isIP(host) === 0 ? tagged(0x82, Buffer.from(host, 'latin1')) : tagged(0x87, addressBytes(host)),
  );
  return [
    extension(OID.basicConstraints, true, isAuthority ? sequence(truth()) : sequence()),
    ...(isAuthority ? [extension(OID.keyUsage, true, SIGNS_OTHERS)] : []),
    ...(isAuthority || usages.length === 0
      ? []
      : [extension(OID.extendedKeyUsage, false, sequence(...usages.map((usage) => oid(OID[usage]))))]),
    extension(OID.subjectKey, false, octets(keyName(own))),
    extension(OID.authorityKey, false, sequence(tagged(0x80, keyName(issuer)))),
    ...(names.length === 0 ? [] : [extension(OID.subjectAltName, false, sequence(...names))]),
  ];
}

function extension(id: string, isCritical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(isCritical ? [truth()] : []), octets(value));
}

/** RFC 5280, 4.2.1.2, method 1: SHA-1 of the key's bits, which names it and protects nothing. */
function keyName(key: KeyObject): Buffer {
  const [, bits = Buffer.alloc(0)] = parts(key.export({ type: 'spki', format: 'der' }));
  return createHash('sha1').update(contentOf(bits).subarray(1)).digest();
}

/** As it stands in the certificate: an issuer is compared byte by byte. */
function subjectOf({ raw }: X509Certificate): Buffer {
  const [body = raw] = parts(raw);
  const [, , , , , subject] = parts(body);
  if (subject === undefined) throw new RangeError('the authority has no version 3 certificate');
  return subject;
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
