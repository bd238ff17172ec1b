/** Certificates against the judgement of Node's OpenSSL. */
import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { makeCertificate } from './certificate.ts';
import { contentOf, integer, parts, sequence, utf8 } from './der.ts';

const authority = makeCertificate({ commonName: 'Ä cluster/of=two, "hosts"', isAuthority: true, days: 30 });

test('an authority signs itself, and others; they are its own, and not of another with the same name', () => {
  const judge = new X509Certificate(authority.cert);
  assert.equal(judge.ca, true);
  assert.equal(judge.verify(judge.publicKey), true);
  const wish = { commonName: 'b', hosts: ['b.example', '10.0.0.2', 'fd00::2'], days: 30 };
  const host = new X509Certificate(makeCertificate({ ...wish, usages: ['server', 'client'] }, authority).cert);
  assert.equal(host.ca, false);
  assert.equal(host.checkIssued(judge), true);
  assert.equal(host.verify(judge.publicKey), true);
  assert.equal(host.subjectAltName, 'DNS:b.example, IP Address:10.0.0.2, IP Address:FD00:0:0:0:0:0:0:2');
  assert.deepEqual(host.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  const namesake = makeCertificate({ commonName: 'Ä cluster/of=two, "hosts"', isAuthority: true, days: 30 });
  assert.equal(host.checkIssued(new X509Certificate(namesake.cert)), false);
  assert.equal(host.verify(new X509Certificate(namesake.cert).publicKey), false);
});

test('it is good from yesterday on, for so many days, and its key is its own', () => {
  const { cert, key } = makeCertificate({ commonName: 'one', hosts: ['one'], usages: ['server'], days: 5 });
  const made = new X509Certificate(cert);
  assert.equal(made.checkPrivateKey(createPrivateKey(key)), true);
  const days = (Date.parse(made.validTo) - Date.parse(made.validFrom)) / 86_400_000;
  assert.equal(days, 6);
});

test('elements are taken apart as they were put together; what is cut off is none', () => {
  const long = utf8('x'.repeat(70_00));
  const list = [integer(Buffer.from([7])), utf8(''), utf8('y'.repeat(200)), long];
  assert.deepEqual(parts(sequence(...list)), list);
  assert.equal(contentOf(long).length, 7000);
  for (const bytes of [sequence(...list).subarray(0, 60), Buffer.from([0x30]), Buffer.from([0x30, 2, 2])])
    assert.throws(() => parts(bytes), RangeError);
});
