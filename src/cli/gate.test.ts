/** `kage gate`, with a fake server behind it. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Random } from '../devices/virtio/random.testing.ts';
import { FakeNbdServer } from '../host/storage/nbd/fake-server.testing.ts';
import { TestAuthority } from '../host/streams/authority.testing.ts';
import { kage, TestTerminal } from './terminal.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-gate-verb-'));
after(() => rmSync(folder, { recursive: true }));

test('a gate serves until it is told to end; it is fenced, and shows what it keeps', async () => {
  const path = join(folder, 'behind.sock');
  const server = new FakeNbdServer({ path, sizeBytes: 1 << 20, random: new Random(1) });
  await server.start();
  const state = ['--state', join(folder, 'state')];
  const terminal = new TestTerminal();
  const listen = `nbd+unix:///?socket=${join(folder, 'gate.sock')}`;
  const gate = kage(['gate', '--listen', listen, '--upstream', `nbd+unix:///?socket=${path}`, ...state], terminal);
  while (!terminal.printed.includes('the gate is at')) await new Promise((resolve) => setTimeout(resolve, 2));
  const fenced = await kage(['gate', 'fence', 'disk0', '7', ...state]);
  assert.deepEqual([fenced.code, fenced.stderr], [0, '']);
  assert.equal(fenced.stdout, 'disk0: from generation 7 on; the server has answered all older writes\n');
  const json = await kage(['gate', 'fence', '', '7', '--timeout', '5s', '--format', 'json', ...state]);
  assert.deepEqual(JSON.parse(json.stdout), { generation: 7, proof: 'answered' });
  const passed = await kage(['gate', 'fence', 'disk0', '6', ...state]);
  assert.equal(passed.code, 125);
  assert.match(passed.stderr, /^kage: generation 6 of export "disk0" is over: 7 is the lowest one\./);
  assert.match(
    (await kage(['gate', 'status', ...state])).stdout,
    /^EXPORT {2}GENERATION {2}CONNECTIONS\ndisk0 +7 +0\n/,
  );
  const second = await kage(['gate', '--listen', listen, '--upstream', `nbd+unix:///?socket=${path}`, ...state]);
  assert.match(second.stderr, /^kage: another gate keeps its generations in /);
  terminal.ending.abort(0);
  assert.equal((await gate).code, 0);
  assert.match((await kage(['gate', 'status', ...state])).stderr, /^kage: no gate answers at /);
  await server.kill();
});

test('between hosts a gate is told by TLS', async () => {
  const path = join(folder, 'far.sock');
  const server = new FakeNbdServer({ path, sizeBytes: 1 << 20, random: new Random(2) });
  await server.start();
  const authority = new TestAuthority(join(folder, 'certificates'));
  const terminal = new TestTerminal();
  const gate = kage(
    [
      ...['gate', '--listen', 'nbd://127.0.0.1:0', '--upstream', `nbd+unix:///?socket=${path}`],
      ...['--state', join(folder, 'far'), '--control', 'tls:127.0.0.1:0', '--tls', authority.host('storage')],
    ],
    terminal,
  );
  while (!terminal.printed.includes('it is told at')) await new Promise((resolve) => setTimeout(resolve, 2));
  const [, address = ''] = /it is told at (\S+)/.exec(terminal.printed) ?? [];
  const told = ['--gate', address, '--tls', authority.host('b')];
  const fenced = await kage(['gate', 'fence', 'disk0', '7', ...told]);
  assert.deepEqual([fenced.code, fenced.stderr], [0, '']);
  assert.match((await kage(['gate', 'status', ...told])).stdout, /\ndisk0 +7 +0\n/);
  assert.match((await kage(['gate', 'status', '--gate', address])).stderr, /^kage: TLS needs certificates/);
  terminal.ending.abort(0);
  assert.equal((await gate).code, 0);
  await server.kill();
});

test('what makes no sense is one line with a way out', async () => {
  const state = ['--state', join(folder, 'none')];
  for (const [args, says] of [
    [['gate'], /^kage: required option '--state <folder>' not specified/],
    [['gate', 'fence', 'disk0', '-x', ...state], /^kage: /],
    [['gate', 'fence', 'disk0', '7'], /^kage: one gate is told/],
    [['gate', 'status', '--gate', 'tls:h:1', ...state], /^kage: one gate is told/],
    [['gate', 'fence', 'disk0', '7', '--gate', 'tcp:127.0.0.1:1'], /^kage: a gate is not told at tcp:/],
    [['gate', 'fence', 'disk0', 'seven', ...state], /^kage: generation seven is not a number/],
    [['gate', '--listen', 'x', '--upstream', 'nbd://h', ...state], /^kage: x names no NBD server/],
    [['gate', '--listen', 'nbd://127.0.0.1:0', '--upstream', 'nbd://h/disk', ...state], /^kage: a gate listens/],
  ] as const) {
    const { code, stdout, stderr } = await kage([...args]);
    assert.deepEqual([code, stdout], [125, ''], args.join(' '));
    assert.match(stderr, says);
  }
});
