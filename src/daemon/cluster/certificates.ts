/**
 * The cluster's authority, and what it signs. Its certificate lies in the store for everybody, its key beside it, sealed under a key
 * that is derived from the cluster's secret: whoever has the token of the cluster signs a certificate for himself.
 *
 *     authority  {cert, nonce, sealed}      AES-256-GCM; the certificate is what the seal is bound to
 */
import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { OperatorError } from '../../base/errors.ts';
import type { RecordKind } from '../../cluster/index.ts';
import { type Certified, makeCertificate } from '../../host/index.ts';
import { clusterFolder, writeSecret } from './cluster-config.ts';

export interface AuthorityRecord {
  /** PEM. */
  readonly cert: string;
  /** Base64. */
  readonly nonce: string;
  readonly sealed: string;
}

/** There is one: its key is its prefix. */
export const AUTHORITY: RecordKind<AuthorityRecord> = {
  prefix: 'authority',
  shape: { cert: 'text', nonce: 'text', sealed: 'text' },
};

/** What a host shows, and whom it believes; PEM. */
export interface HostCertificates extends Certified {
  readonly ca: string;
}

const AUTHORITY_DAYS = 3650;
const HOST_DAYS = 825;
const DAY_MS = 86_400_000;
/** A host's is made anew when so much of its time is left. */
const RENEW_DAYS = 275;

const TAG_BYTES = 16;

/** What the secret is for, each use under a key of its own. */
export function keyFor(use: 'authority' | 'datagrams', secret: string): Buffer {
  return Buffer.from(hkdfSync('sha256', Buffer.from(secret, 'base64url'), '', `kagemusha cluster ${use}`, 32));
}

export function newAuthority(days = AUTHORITY_DAYS): Certified {
  const commonName = `kagemusha cluster ${randomBytes(4).toString('hex')}`;
  return makeCertificate({ commonName, isAuthority: true, days });
}

export function seal({ cert, key }: Certified, secret: string): AuthorityRecord {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', keyFor('authority', secret), nonce);
  cipher.setAAD(Buffer.from(cert));
  const sealed = Buffer.concat([cipher.update(key, 'utf8'), cipher.final(), cipher.getAuthTag()]);
  return { cert, nonce: nonce.toString('base64'), sealed: sealed.toString('base64') };
}

/** Errors: `foreign-authority`: it is not the one that the token is of. `wrong-secret`: the seal does not open. */
export function unseal(record: AuthorityRecord, secret: string, fingerprint: string): Certified {
  if (fingerprintOf(record.cert) !== fingerprint)
    throw new OperatorError(
      'foreign-authority',
      'the store holds another cluster than the one that this host knows',
      'Name the right store; or have "kage cluster token" print a token of that cluster, and join it',
    );
  try {
    const all = Buffer.from(record.sealed, 'base64');
    const decipher = createDecipheriv('aes-256-gcm', keyFor('authority', secret), Buffer.from(record.nonce, 'base64'));
    decipher.setAAD(Buffer.from(record.cert));
    decipher.setAuthTag(all.subarray(-TAG_BYTES));
    const key = Buffer.concat([decipher.update(all.subarray(0, -TAG_BYTES)), decipher.final()]).toString();
    return { cert: record.cert, key };
  } catch (cause) {
    throw new OperatorError(
      'wrong-secret',
      "the secret does not open the cluster's authority",
      'Have "kage cluster token" print the token anew on a host of the cluster',
      { cause },
    );
  }
}

export function fingerprintOf(cert: string): string {
  return createHash('sha256').update(cert).digest('hex');
}

/** For a host by its name; `addresses` are those at which it is called. */
export function certify(
  authority: Certified,
  name: string,
  addresses: readonly string[],
  days = HOST_DAYS,
): HostCertificates {
  const hosts = [...new Set([...addresses, name])];
  const made = makeCertificate({ commonName: name, hosts, usages: ['server', 'client'], days }, authority);
  return { ...made, ca: authority.cert };
}

/**
 * For what is no host and speaks to hosts: a storage's gate, `kage replicate --tls`. The name in it is none that a host can have,
 * so that nobody takes it for one.
 */
export function certifyOther(authority: Certified, names: readonly string[]): HostCertificates {
  const [first = ''] = names;
  const made = makeCertificate(
    { commonName: `credential/${first}`, hosts: names, usages: ['server', 'client'], days: HOST_DAYS },
    authority,
  );
  return { ...made, ca: authority.cert };
}

/** Undefined where one is missing. */
export function readCertificates(stateFolder: string): HostCertificates | undefined {
  const file = (name: string): string => join(clusterFolder(stateFolder), `${name}.pem`);
  if (!['ca', 'cert', 'key'].every((name) => existsSync(file(name)))) return undefined;
  return {
    ca: readFileSync(file('ca'), 'utf8'),
    cert: readFileSync(file('cert'), 'utf8'),
    key: readFileSync(file('key'), 'utf8'),
  };
}

/** ca.pem, cert.pem, key.pem, mode 0600, in a folder of mode 0700. */
export function writeCertificates(folder: string, { ca, cert, key }: HostCertificates): void {
  for (const [name, pem] of Object.entries({ ca, key, cert })) writeSecret(folder, `${name}.pem`, pem);
}

/** Whether it can go on with them: of that authority, of that name and address, and not soon at their end. */
export function isGood({ ca, cert }: HostCertificates, fingerprint: string, name: string, address: string): boolean {
  try {
    const own = new X509Certificate(cert);
    const isOurs = fingerprintOf(ca) === fingerprint && own.verify(new X509Certificate(ca).publicKey);
    const isMine = own.subject === `CN=${name}` && own.checkIP(address) !== undefined;
    return isOurs && isMine && Date.parse(own.validTo) - Date.now() > RENEW_DAYS * DAY_MS;
  } catch {
    return false;
  }
}
