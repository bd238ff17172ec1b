/** Parts of the cluster's hands, each alone: drives behind the gate, costs, load, notes, processes. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { UNKNOWN_COSTS } from '../../cluster/index.ts';
import { gatedExports, gateOf, withGeneration } from './gated-drives.ts';
import { GuestCosts } from './guest-costs.ts';
import { GuestRecords } from './guest-records.ts';
import { HostLoad } from './host-load.ts';
import { Notes } from './notes.ts';
import { endProcess, isThere, processId } from './process-id.ts';
import { capOf } from './starting.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-hands-parts-'));
after(() => rmSync(folder, { recursive: true, force: true }));

describe('drives', () => {
  test('behind the gate name the generation; others stay as they are', () => {
    const drives = [
      { file: '/disk.qcow2', overlay: true },
      { file: 'nbd://10.0.0.9/web' },
      { file: 'nbds://10.0.0.9:10809/a%20b?tls-certificates=/x' },
      { file: 'nbd+unix:///?socket=/gate.sock' },
      { file: 'nbd://10.0.0.9/base', overlay: true },
      { file: 'nbd://10.0.0.9/data', readOnly: true },
    ];
    const { drives: gated, files } = withGeneration(drives, 8);
    assert.deepEqual(
      gated.map(({ file }) => file),
      [
        '/disk.qcow2',
        'nbd://10.0.0.9/web@8',
        'nbds://10.0.0.9:10809/a%20b@8?tls-certificates=/x',
        'nbd+unix:///@8?socket=/gate.sock',
        'nbd://10.0.0.9/base',
        'nbd://10.0.0.9/data',
      ],
    );
    assert.deepEqual(files[0], { drive: 1, file: 'nbd://10.0.0.9/web@8' });
    assert.deepEqual(
      files.map(({ drive }) => drive),
      [1, 2, 3],
    );
    assert.deepEqual(gatedExports(drives), ['web', 'a b', '']);
  });

  test('tell where their gate is, or it has to be named', () => {
    assert.equal(gateOf([{ file: 'nbd://10.0.0.9/web' }], undefined), 'tls:10.0.0.9:10810');
    assert.equal(gateOf([{ file: 'nbds://[fd00::9]:7/web' }], undefined), 'tls:[fd00::9]:10810');
    assert.equal(gateOf([{ file: 'nbd://10.0.0.9/web' }], 'unix:/g/control.sock'), 'unix:/g/control.sock');
    for (const files of [['nbd+unix:///x?socket=/s'], ['nbd://a/x', 'nbd://b/x']])
      assert.throws(
        () =>
          gateOf(
            files.map((file) => ({ file })),
            undefined,
          ),
        { code: 'no-gate' },
      );
  });
});

test('costs are those that were measured, careful ones else, and outlive the process', () => {
  const costs = new GuestCosts(folder);
  assert.deepEqual(costs.of('web'), UNKNOWN_COSTS);
  costs.took('web', { bootMs: 1000 });
  costs.took('web', { bootMs: 2000 });
  assert.deepEqual(costs.of('web'), { ...UNKNOWN_COSTS, bootMs: 1500 });
  costs.took('web', { epochMs: 4, epochBytes: 1 << 20 });
  assert.deepEqual([costs.of('web').checkpointMs, costs.of('web').checkpointBytes], [4, 1 << 20]);
  costs.took('web', { checkpointMs: 300, checkpointBytes: 64 << 20 });
  assert.deepEqual([costs.of('web').checkpointMs, costs.of('web').checkpointBytes], [300, 64 << 20]);
  assert.deepEqual(new GuestCosts(folder).of('web'), costs.of('web'));
  writeFileSync(join(folder, 'cluster/costs.json'), '{"version": 1, "guests": {"web": {"bootMs": "soon"}}}');
  assert.deepEqual(new GuestCosts(folder).of('web'), UNKNOWN_COSTS);
});

test('records are read as they were written, or not at all', () => {
  const records = new GuestRecords(folder);
  const machine = { kind: 'machine', generation: 3, incarnation: 2, method: 'hot' } as const;
  const standby = { kind: 'standby', method: 'warm', activeHost: 'a' } as const;
  records.put('web', machine);
  records.put('db', standby);
  writeFileSync(join(folder, 'cluster/guests/bad.json'), '{"kind": "machine"}');
  writeFileSync(join(folder, 'cluster/guests/cut.json'), '{"kind": ');
  assert.deepEqual(
    new Map(records.all()),
    new Map<string, object>([
      ['web', machine],
      ['db', standby],
    ]),
  );
  records.remove('web');
  assert.deepEqual([...records.all().keys()], ['db']);
});

test('cores in use are counted between two looks that are far enough apart', () => {
  let stat = 'cpu  100 0 50 850 0 0 0 0 0 0\ncpu0 1 1\ncpu1 1 1\nintr 5\n';
  const load = new HostLoad({ costs: new GuestCosts(folder), readyStandbys: () => ['web'] }, () => stat);
  assert.equal(load.usedCores(), 0);
  // Two cores, a second: 200 ticks, of which 100 were idle, and 50 waited for a disk.
  stat = 'cpu  130 0 70 950 50 0 0 0 0 0\ncpu0 1 1\ncpu1 1 1\nintr 5\n';
  assert.equal(load.usedCores(), 0.5);
  stat = 'cpu  131 0 70 950 50 0 0 0 0 0\ncpu0 1 1\ncpu1 1 1\nintr 5\n';
  assert.equal(load.usedCores(), 0.5, 'a hundredth of a second says nothing');
  assert.deepEqual(load.readyStandbys(), ['web']);
});

test('a note is told when it changes, and once a minute', () => {
  const told: string[] = [];
  let nowMs = 0;
  const notes = new Notes(
    (...note) => told.push(note.join(' ')),
    () => nowMs,
  );
  for (const [kind, guest, detail, atMs] of [
    ...[['lost', 'web', 'x', 0] as const, ['lost', 'web', 'x', 1000] as const, ['lost', 'web', 'y', 1000] as const],
    ...[
      ['lost', 'db', 'y', 1000] as const,
      ['lost', 'web', 'y', 60_999] as const,
      ['lost', 'web', 'y', 61_000] as const,
    ],
  ]) {
    nowMs = atMs;
    notes.add(kind, guest, detail);
  }
  assert.deepEqual(told, ['lost web x', 'lost web y', 'lost db y', 'lost web y']);
  notes.forget('web');
  notes.add('lost', 'web', 'y');
  assert.equal(told.length, 5);
});

test('a process is known by its start, whatever its number; one that was not reaped is gone', async () => {
  const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 60000)'], { stdio: 'ignore' });
  const id = processId(child.pid ?? 0);
  assert.ok(id !== undefined && isThere(id));
  assert.ok(!isThere({ ...id, startedTicks: id.startedTicks - 1 }));
  endProcess({ ...id, startedTicks: id.startedTicks - 1 });
  assert.ok(isThere(id));
  const ended = new Promise((resolve) => child.once('exit', resolve));
  endProcess(id);
  await ended;
  assert.ok(!isThere(id));
  assert.equal(processId(2 ** 22 + 1), undefined);
});

test('a guest has its share, no more than its operator lets it, and never nothing', () => {
  assert.deepEqual(
    [capOf(1.5, undefined), capOf(1.5, 1), capOf(0, undefined), capOf(99, undefined)],
    [1.5, 1, 0.05, 32],
  );
});
