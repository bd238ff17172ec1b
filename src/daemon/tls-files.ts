/** Certificates, keys and tokens: files that the operator names, checked before anything listens. */
import { randomBytes, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { hostname, userInfo } from 'node:os';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { OperatorError } from '../base/errors.ts';
import { hostName } from './api/guard.ts';
import type { TcpOptions } from './daemon.ts';
import { selfSigned } from './self-signed.ts';

/** Errors: `bad-tls`. */
export function readTls({ certificateFile, keyFile }: Pick<TcpOptions, 'certificateFile' | 'keyFile'>): {
  cert: string;
  key: string;
} {
  const fix = 'Give PEM files with --tls-cert and --tls-key that belong together';
  try {
    const [cert, key] = [readFileSync(certificateFile, 'utf8'), readFileSync(keyFile, 'utf8')];
    createSecureContext({ cert, key });
    return { cert, key };
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new OperatorError('bad-tls', `the certificate or its key cannot be used: ${message}`, fix, { cause });
  }
}

/** Names of the certificate, the address, the host's own. */
export function allowedHosts({ host, allowedHosts: more = [] }: TcpOptions, cert: string): ReadonlySet<string> {
  const { subjectAltName = '', subject } = new X509Certificate(cert);
  const alternatives = subjectAltName.split(', ').map((one) => one.replace(/^(DNS|IP Address):/, ''));
  const common = /^CN=(.*)$/m.exec(subject)?.[1];
  const own = ['localhost', '127.0.0.1', '::1', hostname()];
  const all = [host, ...alternatives, ...(common === undefined ? [] : [common]), ...own, ...more];
  return new Set(all.filter((one) => one !== '' && one !== '0.0.0.0' && one !== '::').map((one) => hostName(one)));
}

/** The token in a file for this user alone; makes one where it is missing. Errors: `bad-token`. */
export function readToken(file: string): string {
  try {
    const state = statSync(file);
    if ((state.mode & 0o077) !== 0 || state.uid !== userInfo().uid)
      throw new OperatorError('bad-token', `others may read the token in ${file}`, 'Make it yours alone (chmod 600)');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    return makeToken(file);
  }
  const token = readFileSync(file, 'utf8').trim();
  if (!/^[\x21-\x2b\x2d-\x7e]{16,512}$/.test(token))
    throw new OperatorError(
      'bad-token',
      `${file} holds no token`,
      'Write 16 characters or more into it, without spaces or commas',
    );
  return token;
}

/** Files of a certificate that signs itself, in that folder; made where they are missing. */
export function selfSignedFiles(
  folder: string,
  hosts: readonly string[],
): { certificateFile: string; keyFile: string } {
  const files = { certificateFile: join(folder, 'tls-cert.pem'), keyFile: join(folder, 'tls-key.pem') };
  if (existsSync(files.certificateFile) && existsSync(files.keyFile)) return files;
  const own = ['localhost', '127.0.0.1', '::1', hostname()];
  const { cert, key } = selfSigned([...new Set([...hosts, ...own])].filter((one) => one !== '0.0.0.0' && one !== '::'));
  writeFileSync(files.keyFile, key, { mode: 0o600 });
  writeFileSync(files.certificateFile, cert, { mode: 0o644 });
  return files;
}

function makeToken(file: string): string {
  const token = randomBytes(32).toString('base64url');
  try {
    writeFileSync(file, `${token}\n`, { flag: 'wx', mode: 0o600 });
    return token;
  } catch (cause) {
    throw new OperatorError(
      'bad-token',
      `the token cannot be written to ${file}`,
      'Name another file with --token-file',
      { cause },
    );
  }
}
