/** `kage net`, with a machine of no guest behind it. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { machineOptions } from './run-options.ts';
import { kage, ownRuntimeFolder, TestTerminal, until } from './terminal.testing.ts';

ownRuntimeFolder();

describe('kage net', () => {
  test('lists, maps, prefers, unmaps; events say why', async () => {
    await kage(['run', '-q', '-d', '-n', 'web']);
    const shown = await kage(['net', 'ls', 'web']);
    assert.match(
      shown.stdout,
      /^INTERFACE +NETWORK +MAC +IN FORCE +SINCE +UPLINKS +FAIL-BACK +WHY\nweb\/net0 +lan +52:54:00:12:34:56 +lan0 +2026-01-01T00:00:00 +lan0,lan1 +always +as it was started\n/,
    );
    assert.match(shown.stdout, /\nlan1 +macvtap +lan +up +none +0 +0 +0\n/);
    const quiet = { code: 0, stdout: '', stderr: '' };
    assert.deepEqual(await kage(['net', 'prefer', 'web', 'net0', 'lan1']), quiet);
    const json = JSON.parse((await kage(['net', 'ls', 'web', '--format', 'json'])).stdout) as {
      interfaces: { inForce: string; uplinks: string[] }[];
    };
    assert.deepEqual([json.interfaces[0]?.inForce, json.interfaces[0]?.uplinks], ['lan1', ['lan1', 'lan0']]);
    assert.deepEqual(await kage(['net', 'map', 'web', 'net0', 'lan0']), quiet);
    assert.deepEqual(await kage(['net', 'unmap', 'web', 'net0', 'lan0']), quiet);
    assert.deepEqual(await kage(['net', 'failover', 'web', 'off']), quiet);
    const list = (await kage(['net', 'ls', 'web'])).stdout;
    assert.match(list, /\(no carrier\)/);
    assert.match(list, /Path failover is off/);
    const events = (await kage(['net', 'events', 'web'])).stdout.trim().split('\n');
    assert.match(events.at(-1) ?? '', /failover-off +all: set by the operator$/);
    assert.ok(events.some((line) => /switched +web\/net0 from lan0 to lan1: preferred by the operator$/.test(line)));
    assert.ok(events.some((line) => /all-paths-lost +web\/net0 from lan0: unmapped by the operator$/.test(line)));
    const wrong = await kage(['net', 'map', 'web', 'net0', 'lan7']);
    assert.deepEqual([wrong.code, wrong.stderr], [125, 'kage: There is no uplink lan7. Those that are: lan0, lan1.\n']);
    await kage(['rm', '-f', 'web']);
  });

  test('events are followed, and frames captured, until the machine ends', async () => {
    await kage(['run', '-q', '-d', '-n', 'web']);
    const folder = mkdtempSync(join(tmpdir(), 'kage-net-'));
    const file = join(folder, 'web.pcapng');
    const following = kage(['net', 'events', 'web', '--follow', '--format', 'json']);
    const capturing = kage(['net', 'capture', 'web', 'web/net0', '-w', file, '-s', '64']);
    const toStdout = kage(['net', 'capture', 'web']);
    await new Promise((resolve) => setTimeout(resolve, 300));
    await kage(['net', 'prefer', 'web', 'net0', 'lan1']);
    await new Promise((resolve) => setTimeout(resolve, 500));
    await kage(['rm', '-f', 'web']);
    const lines = (await following).stdout.trim().split('\n');
    assert.equal((JSON.parse(lines.at(-1) ?? '{}') as { kind: string }).kind, 'switched');
    const captured = await capturing;
    assert.deepEqual([captured.code, captured.stderr], [0, '']);
    assert.equal(readFileSync(file).readUInt32LE(8), 0x1a2b3c4d);
    assert.equal((await toStdout).stdout.length > 20, true);
    rmSync(folder, { recursive: true });
  });

  test('of a port that is not there nothing is captured', async () => {
    await kage(['run', '-q', '-d', '-n', 'web']);
    assert.match((await kage(['net', 'capture', 'web', 'lan9'])).stderr, /no interface or uplink lan9/);
    await kage(['rm', '-f', 'web']);
  });
});

test('kage net switch serves until it is interrupted', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kage-net-'));
  const terminal = new TestTerminal();
  const serving = kage(['net', 'switch', join(folder, 'lan.sock'), '--netdev', 'user,id=nat'], terminal);
  await until(() => terminal.printed.includes('uplink-added'));
  assert.match(terminal.printed, /uplink-added +nat: user, network switch\n$/);
  assert.equal(existsSync(join(folder, 'lan.sock')), true);
  terminal.ending.abort();
  assert.equal((await serving).code, 0);
  assert.equal(existsSync(join(folder, 'lan.sock')), false);
  rmSync(folder, { recursive: true });
});

describe('kage run: uplinks', () => {
  test('several are one interface’s, in order; what is plain stays what it was', () => {
    assert.equal(machineOptions({ agent: true, netdev: ['user,id=n0'] }).netdevs, undefined);
    const { netdevs, mac, failback, pathFailover } = machineOptions({
      ...{ agent: true, mac: '52:54:00:00:00:01', failback: 'failure', pathFailover: 'off' },
      netdev: ['macvtap,ifname=mt0,target=10.0.0.1', 'stream,addr.type=unix,addr.path=/run/x', 'user,restrict=on'],
    });
    assert.deepEqual(netdevs, [
      { kind: 'macvtap', ifname: 'mt0', targets: ['10.0.0.1'] },
      { kind: 'stream', path: '/run/x' },
      { kind: 'user', user: 'restrict=on' },
    ]);
    assert.deepEqual([mac, failback, pathFailover], ['52:54:00:00:00:01', 'failure', false]);
  });

  test('ports are published by the user-mode network', () => {
    assert.throws(
      () => machineOptions({ agent: true, netdev: ['macvtap,ifname=mt0'], publish: ['80:80'] }),
      /user-mode network alone/,
    );
    assert.equal(
      machineOptions({ agent: true, netdev: ['macvtap,ifname=mt0', 'user'], publish: ['80:80'] }).netdevs?.length,
      2,
    );
  });
});
