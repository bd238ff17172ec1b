/** The authority, its seal and its token: who has the secret can sign, nobody else. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import {
  certify,
  fingerprintOf,
  isGood,
  newAuthority,
  readCertificates,
  seal,
  unseal,
  writeCertificates,
} from './certificates.ts';
import {
  addressText,
  type ClusterConfig,
  clusterFolder,
  newSecret,
  parseHostAddress,
  parseToken,
  readConfig,
  removeConfig,
  tokenText,
  writeConfig,
} from './cluster-config.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-certificates-'));
after(() => rmSync(folder, { recursive: true }));

const authority = newAuthority();
const secret = newSecret();
const fingerprint = fingerprintOf(authority.cert);
const config: ClusterConfig = {
  ...{ format: 1, name: 'a', id: 'one', address: '10.0.0.1:7444', secret, authority: fingerprint },
  ...{ store: { kind: 'etcd', endpoints: ['http://10.0.0.11:2379'] }, capacity: {}, labels: { rack: '1' } },
};

test('the seal opens to the secret alone, and for that certificate alone', () => {
  const record = seal(authority, secret);
  assert.ok(!JSON.stringify(record).includes(secret));
  assert.deepEqual(unseal(record, secret, fingerprint), authority);
  assert.throws(() => unseal(record, newSecret(), fingerprint), { code: 'wrong-secret' });
  const other = newAuthority();
  assert.throws(() => unseal({ ...record, cert: other.cert }, secret, fingerprint), { code: 'foreign-authority' });
  assert.throws(() => unseal({ ...record, cert: other.cert }, secret, fingerprintOf(other.cert)), {
    code: 'wrong-secret',
  });
  for (const sealed of ['', 'AA==', Buffer.from(record.sealed, 'base64').fill(0, 0, 1).toString('base64')])
    assert.throws(() => unseal({ ...record, sealed }, secret, fingerprint), { code: 'wrong-secret' });
});

test('openssl takes what it signed for a server and for a client, by address', (context) => {
  if (spawnSync('openssl', ['version']).status !== 0) return context.skip('there is no openssl');
  const { ca, cert } = certify(authority, 'a', ['10.0.0.1']);
  writeFileSync(join(folder, 'ca.pem'), ca);
  writeFileSync(join(folder, 'a.pem'), cert);
  const judge = (purpose: string, ...more: string[]): string =>
    spawnSync('openssl', ['verify', '-x509_strict', '-CAfile', 'ca.pem', '-purpose', purpose, ...more, 'a.pem'], {
      ...{ cwd: folder, encoding: 'utf8' },
    }).stdout;
  assert.match(judge('sslserver', '-verify_ip', '10.0.0.1'), /a\.pem: OK/);
  assert.match(judge('sslclient'), /a\.pem: OK/);
  assert.doesNotMatch(judge('sslserver', '-verify_ip', '10.0.0.2'), /OK/);
});

test('a host makes its certificate anew when it is foreign, of another name or address, or near its end', () => {
  const good = certify(authority, 'a', ['10.0.0.1']);
  assert.equal(isGood(good, fingerprint, 'a', '10.0.0.1'), true);
  assert.equal(isGood(good, fingerprintOf(newAuthority().cert), 'a', '10.0.0.1'), false);
  assert.equal(isGood(good, fingerprint, 'b', '10.0.0.1'), false);
  assert.equal(isGood(good, fingerprint, 'a', '10.0.0.2'), false);
  assert.equal(isGood(certify(authority, 'a', ['10.0.0.1'], 100), fingerprint, 'a', '10.0.0.1'), false);
  assert.equal(isGood({ ...good, cert: 'x' }, fingerprint, 'a', '10.0.0.1'), false);
});

test('files are for this user alone, and gone when the host is in no cluster any more', () => {
  const state = join(folder, 'state');
  assert.equal(readConfig(state), undefined);
  assert.equal(readCertificates(state), undefined);
  writeConfig(state, config);
  const certificates = certify(authority, 'a', ['10.0.0.1']);
  writeCertificates(clusterFolder(state), certificates);
  assert.deepEqual(readConfig(state), config);
  assert.deepEqual(readCertificates(state), certificates);
  for (const file of ['cluster.json', 'ca.pem', 'cert.pem', 'key.pem'])
    assert.equal(statSync(join(state, 'cluster', file)).mode & 0o777, 0o600);
  assert.equal(statSync(join(state, 'cluster')).mode & 0o777, 0o700);
  const whole = readFileSync(join(state, 'cluster/cluster.json'), 'utf8');
  for (const damaged of [
    '',
    whole.slice(0, 100),
    whole.replace('"name"', '"nom"'),
    whole.replace('10.0.0.1:7444', 'x'),
  ]) {
    writeFileSync(join(state, 'cluster/cluster.json'), damaged);
    assert.throws(() => readConfig(state), { code: 'bad-cluster-config' });
    assert.equal(readFileSync(join(state, 'cluster/cluster.json'), 'utf8'), damaged);
  }
  removeConfig(state);
  assert.equal(readConfig(state), undefined);
});

test('a token is one word, and what is none is not repeated', () => {
  const { store, authority: of } = config;
  const token = tokenText({ secret, store, authority: of });
  assert.match(token, /^kage-cluster-1\.[\w-]+$/);
  assert.deepEqual(parseToken(` ${token}\n`), { secret, store, authority: of });
  for (const wrong of [
    '',
    'x',
    token.slice(0, -3),
    token.replace('cluster-1', 'cluster-2'),
    `${token}${'A'.repeat(20_000)}`,
  ])
    assert.throws(
      () => parseToken(wrong),
      (error: Error & { code: string }) => error.code === 'bad-join-token' && !error.message.includes('cluster-1.'),
    );
});

test('addresses are those of IP, with a port', () => {
  assert.deepEqual(parseHostAddress('10.0.0.1'), { host: '10.0.0.1', port: 7444 });
  assert.deepEqual(parseHostAddress('10.0.0.1:99'), { host: '10.0.0.1', port: 99 });
  assert.deepEqual(parseHostAddress('[fd00::1]:99'), { host: 'fd00::1', port: 99 });
  assert.equal(addressText(parseHostAddress('fd00::1')), '[fd00::1]:7444');
  for (const wrong of ['', 'web', 'web:99', '10.0.0.1:0', '10.0.0.1:65536', '10.0.0.1:', '10.0.0', '[10.0.0.1'])
    assert.throws(() => parseHostAddress(wrong), { code: 'bad-address' });
});
