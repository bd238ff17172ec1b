import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { NodeDnsPort } from './dns-port.ts';
import { parseHosts, parseResolvConf } from './resolver-files.ts';

test('resolv.conf: nameservers in order, three at most, comments and other keywords skipped', () => {
  const text =
    '# c\nsearch lan\nnameserver 192.0.2.1\n nameserver fe80::1%eth0 ; x\nnameserver bad!\nnameserver 1.1.1.1\nnameserver 9.9.9.9\n';
  assert.deepEqual(
    parseResolvConf(text).map(({ address, port }) => `${address}#${port}`),
    ['192.0.2.1#53', 'fe80::1%eth0#53', '1.1.1.1#53'],
  );
  assert.deepEqual(parseResolvConf(''), []);
});

test('hosts: IPv4 lines, several names, several addresses, case', () => {
  const table = parseHosts(
    '127.0.0.1 localhost\n::1 localhost ip6-localhost\n10.1.1.1\tDB.lan db # x\n10.1.1.2 db\n#9.9.9.9 no\n',
  );
  assert.deepEqual(Object.fromEntries(table), {
    localhost: ['127.0.0.1'],
    'db.lan': ['10.1.1.1'],
    db: ['10.1.1.1', '10.1.1.2'],
  });
});

test('the files are read again when they have changed, and may be missing', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kage-dns-'));
  try {
    const port = new NodeDnsPort({ hosts: join(folder, 'hosts'), resolvConf: join(folder, 'resolv.conf') });
    assert.equal(port.hostsLookup('a'), undefined);
    assert.equal(port.available(), false);
    assert.equal(port.tcpServer(), undefined);
    writeFileSync(join(folder, 'hosts'), '10.0.0.1 a\n');
    writeFileSync(join(folder, 'resolv.conf'), 'nameserver 10.0.0.53\n');
    assert.deepEqual(port.hostsLookup('a'), ['10.0.0.1']);
    assert.deepEqual(port.tcpServer(), { address: '10.0.0.53', port: 53 });
    writeFileSync(join(folder, 'hosts'), '10.0.0.1 a\n10.0.0.22 bee\n');
    assert.deepEqual(port.hostsLookup('bee'), ['10.0.0.22']);
    rmSync(join(folder, 'hosts'));
    assert.equal(port.hostsLookup('bee'), undefined);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
