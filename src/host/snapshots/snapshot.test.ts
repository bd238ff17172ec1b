/**
 * Snapshots of small machines. By the instruction clock a run is one thing to the instruction, so it is the oracle: a
 * machine of which a snapshot is taken, and one that is made of it, must run as one that was left alone.
 */
import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import promises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { OperatorError } from '../../base/errors.ts';
import { Random } from '../../devices/virtio/random.testing.ts';
import { Board, bareSlot, boardConfig, CHUNK, type IoThread, slotLayout } from '../../machine/index.ts';
import { createMachine, restoreMachine } from '../machine/index.ts';
import { LocalMachine } from '../machine/machine.ts';
import type { MachineHandle, MachineOptions, SnapshotOptions } from '../machine/machine-api.ts';
import { createQcow2 } from '../storage/index.ts';
import { FakeNbdServer } from '../storage/nbd/fake-server.testing.ts';
import { readChunks, writeChunks } from './fuzz.testing.ts';
import { SavedMachine } from './index.ts';
import { raceMachine } from './snapshot.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-snapshot-'));
const options = raceMachine(join(folder, 'race.bin'));
const path = (name: string): string => join(folder, name);
let taken = 0;

after(() => rmSync(folder, { recursive: true, force: true }));

interface Run {
  readonly console: string;
  readonly instructions: readonly number[];
}

/** To its end; `atByte`: act once the console has said so many bytes, while it is paused there. */
async function finish(machine: MachineHandle, atByte = 0, act?: () => Promise<unknown>): Promise<Run> {
  let acted: Promise<unknown> | undefined;
  machine.onConsole(() => {
    if (act === undefined || machine.consoleHistory().length < atByte) return;
    acted ??= machine
      .pause()
      .then(act)
      .finally(() => machine.resume());
  });
  assert.deepEqual(await machine.exited, { reason: 'poweroff', code: 0 });
  await acted;
  const { vcpus } = (await machine.stats()) as unknown as { vcpus: { instructions: number }[] };
  const console = Buffer.from(machine.consoleHistory()).toString('latin1');
  return { console, instructions: vcpus.map((vcpu) => vcpu.instructions) };
}

/** A snapshot of the race when it has said so much, the original run to its end. */
async function take(atByte: number, more: SnapshotOptions = {}, given: MachineOptions = options) {
  const file = path(`race-${taken++}.kage`);
  const machine = await createMachine(given);
  const run = await finish(machine, atByte, () => machine.snapshot(file, more));
  return { file, run };
}

const load = async (file: string): Promise<Board> => {
  const saved = SavedMachine.open(file);
  try {
    const clock = { ticks: () => 0n, wallMs: () => 0 };
    const board = Board.create(boardConfig(saved.options), { clock, slotLayout, slot: bareSlot });
    const io = { writeConsole: () => {} } as unknown as IoThread;
    saved.readMemory(board);
    saved.loadState(board, undefined);
    await saved.loadMemory(board, io);
    return board;
  } finally {
    await saved.close();
  }
};

const refused = (code: string) => (error: unknown) => {
  assert.ok(error instanceof OperatorError, String(error));
  assert.equal(error.code, code, error.message);
  assert.ok(!error.message.includes('\n') && error.fix.length > 10);
  return true;
};

describe('a machine that was a file for a while', () => {
  let alone: Run;
  before(async () => {
    alone = await finish(await createMachine(options));
    assert.ok(alone.console.length > 130, alone.console);
  });

  test('that was to end with its snapshot goes on if that cannot be kept', async (t) => {
    const file = path('not-kept.kage');
    t.mock.method(promises, 'rename', async () => {
      throw new Error('no room for a name');
    });
    syncBuiltinESMExports();
    t.after(() => {
      t.mock.restoreAll();
      syncBuiltinESMExports();
    });
    const machine = await createMachine(options);
    const run = await finish(machine, 40, () => assert.rejects(machine.snapshot(file, { stop: true }), /no room/));
    assert.deepEqual(run, alone);
    assert.ok(!existsSync(file));
  });

  for (const atByte of [2, 40, 99])
    test(`goes on to the instruction, taken after ${atByte} bytes; so does the original`, async () => {
      const { file, run } = await take(atByte);
      assert.deepEqual(run, alone);
      assert.deepEqual(await finish(await restoreMachine(file)), alone);
    });

  test('uncompressed too, and twice over: of a machine that was restored', async () => {
    const { file } = await take(20, { compress: false });
    const second = path('second.kage');
    const machine = await restoreMachine(file);
    assert.deepEqual(await finish(machine, 90, () => machine.snapshot(second)), alone);
    assert.deepEqual(await finish(await restoreMachine(second)), alone);
  });

  test('as increments of increments', async () => {
    const [one, two, three] = ['one', 'two', 'three'].map((name) => path(`${name}.kage`));
    assert.ok(one && two && three);
    const sizes: number[] = [];
    const first = await createMachine(options);
    await finish(first, 20, async () => sizes.push((await first.snapshot(one)).pages));
    const second = await restoreMachine(one);
    const run = await finish(second, 90, async () => {
      sizes.push((await second.snapshot(two, { base: one })).pages);
      sizes.push((await second.snapshot(three, { base: two })).pages);
    });
    assert.deepEqual(run, alone);
    const [whole = 0, changed = 0, same] = sizes;
    assert.ok(changed > 0 && changed < whole + 60 && same === 0, `${sizes}: only what changed`);
    for (const file of [two, three]) assert.deepEqual(await finish(await restoreMachine(file)), alone);
    rmSync(one);
    await assert.rejects(restoreMachine(three), refused('snapshot-base'));
    await take(10).then(({ file }) => writeFileSync(one, readFileSync(file)));
    await assert.rejects(restoreMachine(three), refused('snapshot-base'), 'another in its place');
  });

  test('as an increment in which a page has become zeros', async () => {
    const machine = await createMachine({ ...options, startPaused: true });
    assert.ok(machine instanceof LocalMachine);
    const [one, two] = [path('full.kage'), path('emptied.kage')];
    await machine.snapshot(one);
    machine.board.guestMemory.write(0x8000_0000, new Uint8Array(4096));
    assert.equal((await machine.snapshot(two, { base: one, stop: true })).pages, 0);
    const bytes = new Uint8Array(4096).fill(1);
    assert.ok((await load(one)).guestMemory.read(0x8000_0000, bytes) && bytes.some((byte) => byte !== 0));
    assert.ok((await load(two)).guestMemory.read(0x8000_0000, bytes) && bytes.every((byte) => byte === 0));
  });

  test('with what was denied to its domains', async () => {
    const machine = await createMachine({ ...options, startPaused: true });
    // The harts leave what they see in pages from 0x80200000 on: this is the 33rd.
    const rule = { domains: ['firmware', 'user'], start: 0x8022_0000, end: 0x8022_1000, rights: 'w' } as const;
    await machine.protect({ action: 'deny', ...rule });
    await machine.protect({ action: 'deny', domains: ['kernel'], start: 0x8000_0000, end: 0x8030_0000, rights: 'rx' });
    const file = path('ruled.kage');
    await machine.snapshot(file);
    const { rules } = await machine.protection();
    assert.equal(rules.length, 3);
    await machine.kill();

    await using denied = await restoreMachine(file, { startPaused: true });
    assert.deepEqual((await denied.protection()).rules, rules);
    await denied.resume();
    while ((await denied.violations()).length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const [{ domain, access, physical } = {}] = (await denied.violations()).slice(-1);
    assert.deepEqual({ domain, access }, { domain: 'firmware', access: 'store' });
    assert.equal(Math.floor(Number(physical) / 4096), 0x8022_0000 / 4096);

    const allowed = await restoreMachine(file, { startPaused: true });
    await allowed.protect({ action: 'allow', ...rule });
    await allowed.resume();
    assert.deepEqual(await finish(allowed), alone);
  });

  test('and ends with its snapshot where that is asked for', async () => {
    const machine = await createMachine({ ...options, startPaused: true });
    const file = path('stopped.kage');
    await machine.snapshot(file, { stop: true });
    assert.deepEqual(await machine.exited, { reason: 'killed', code: 137 });
    assert.deepEqual(await finish(await restoreMachine(file)), alone);
  });

  test('a machine that is paused stays so, and one that is let go on meanwhile goes on', async () => {
    const machine = await createMachine({ ...options, startPaused: true });
    await machine.snapshot(path('paused.kage'));
    assert.equal(machine.info.state, 'paused');
    const under = machine.snapshot(path('paused.kage'));
    await machine.resume();
    await under;
    assert.deepEqual(await finish(machine), alone);
  });
});

describe('what cannot be written', () => {
  test('leaves the guest as it was, and nothing behind', async () => {
    mkdirSync(path('there'));
    writeFileSync(path('a-letter.txt'), 'dear');
    const machine = await createMachine(options);
    const before = readdirSync(folder).length;
    const run = await finish(machine, 20, async () => {
      await assert.rejects(machine.snapshot(path('not/there.kage')), refused('snapshot-not-written'));
      await assert.rejects(machine.snapshot(path('there')), refused('snapshot-not-written'));
      await assert.rejects(machine.snapshot('/proc/kage'), refused('snapshot-not-written'));
      await assert.rejects(machine.snapshot(path('a-letter.txt')), refused('file-exists'));
      await assert.rejects(machine.snapshot(path('x.kage'), { base: path('no.kage') }), refused('snapshot-not-found'));
    });
    assert.equal(readFileSync(path('a-letter.txt'), 'utf8'), 'dear');
    assert.equal(readdirSync(folder).length, before);
    assert.deepEqual(run, await finish(await createMachine(options)));
  });

  test('a guest without protection comes back without', async () => {
    const machine = await createMachine({ ...options, protection: false, startPaused: true });
    await machine.snapshot(path('open.kage'), { stop: true });
    await using restored = await restoreMachine(path('open.kage'), { startPaused: true });
    await assert.rejects(restored.protection(), refused('protection-off'));
  });

  test('a snapshot is not replaced by its own increment, nor by a half of one', async () => {
    const { file } = await take(20);
    const was = readFileSync(file);
    const machine = await createMachine({ ...options, startPaused: true });
    await assert.rejects(machine.snapshot(file, { base: file }), refused('snapshot-base'));
    const other = await createMachine({ ...options, memoryBytes: 16 << 20, startPaused: true });
    await assert.rejects(other.snapshot(path('y.kage'), { base: file }), refused('snapshot-base'));
    const ended = assert.rejects(machine.snapshot(file), /ended/);
    await machine.kill();
    await ended;
    await other.kill();
    assert.ok(readFileSync(file).equals(was));
  });
});

describe('a file that is not sound', () => {
  let file: string;
  let bytes: Buffer;
  before(async () => {
    ({ file } = await take(30));
    bytes = readFileSync(file);
    await load(file);
  });
  const bad = path('bad.kage');
  const tryLoad = async (content: Uint8Array): Promise<string> => {
    writeFileSync(bad, content);
    try {
      await load(bad);
    } catch (error) {
      assert.ok(error instanceof OperatorError, String(error instanceof Error ? error.stack : error));
      return error.code;
    }
    return 'loaded';
  };

  test('is refused with any of its bytes damaged', async () => {
    const codes = new Set<string>();
    // Every byte of what is in front and at the end, and some of those between.
    for (let at = 0; at < bytes.length; at += at < 200 || at > bytes.length - 100 ? 1 : 331) {
      const copy = Buffer.from(bytes);
      copy[at] = (copy[at] ?? 0) ^ (1 << (at % 8));
      codes.add(await tryLoad(copy));
    }
    assert.deepEqual([...codes].sort(), ['snapshot-damaged', 'snapshot-not-recognized']);
  });

  test('is refused when cut anywhere, or longer than it was', async () => {
    for (let length = 0; length < bytes.length; length += length < 200 ? 1 : 211) {
      const code = await tryLoad(bytes.subarray(0, length));
      assert.equal(code, length < 8 ? 'snapshot-not-recognized' : 'snapshot-damaged', `${length}`);
    }
    assert.equal(await tryLoad(Buffer.concat([bytes, Buffer.of(0)])), 'snapshot-damaged');
    assert.equal(await tryLoad(Buffer.from('a text, and a long one at that')), 'snapshot-not-recognized');
  });

  test('is not there, or is a folder', async () => {
    await assert.rejects(load(path('none.kage')), refused('snapshot-not-found'));
    await assert.rejects(load(folder), refused('snapshot-not-recognized'));
  });
});

describe('shadow tables', () => {
  const file = path('shadows.kage');
  before(async () => {
    const machine = await createMachine({ ...options, startPaused: true, shadows: 3, asidBits: 4 });
    await machine.snapshot(file, { stop: true });
  });

  test('are as many, of as many bits of ASID; how many may be another number', async () => {
    const opened = (other: { shadows?: number }): MachineOptions => SavedMachine.open(file, other).options;
    assert.deepEqual([opened({}).shadows, opened({}).asidBits], [3, 4]);
    assert.deepEqual([opened({ shadows: 5 }).shadows, opened({ shadows: 5 }).asidBits], [5, 4]);
    const restored = await restoreMachine(file, { shadows: 1, startPaused: true });
    await restored.kill();
  });

  for (const { name, field, value, code } of [
    { name: 'a hart of other bits', field: 'asidAbsent', value: 0n, code: 'snapshot-other-machine' },
    {
      name: 'an ASID of bits that there are not',
      field: 'satp',
      value: (8n << 60n) | (1n << 48n),
      code: 'snapshot-damaged',
    },
  ])
    test(`${name} is refused`, async () => {
      const bad = path('bad-shadows.kage');
      const chunks = readChunks(file).map((chunk) => {
        if (chunk.kind !== CHUNK.state) return chunk;
        const state = JSON.parse(Buffer.from(chunk.data).toString());
        state.board.vcpus[0].state[field] = `${value}`;
        return { ...chunk, data: Buffer.from(JSON.stringify(state)) };
      });
      writeChunks(bad, chunks);
      await assert.rejects(restoreMachine(bad), refused(code));
    });
});

describe('disks', () => {
  const disk = path('disk.raw');
  const machineWith = (drive: object): MachineOptions => ({
    ...options,
    startPaused: true,
    drives: [{ file: disk, ...drive }],
  });
  const snapshotOf = async (drive: object, file: string): Promise<void> => {
    const machine = await createMachine(machineWith(drive));
    await machine.snapshot(file, { stop: true });
  };
  before(() => writeFileSync(disk, Buffer.alloc(1 << 20, 7)));

  for (const drive of [{}, { readOnly: true }, { overlay: true }, { overlay: path('kept.overlay') }])
    test(`${JSON.stringify(drive)}: restored where they are as they were, else refused`, async () => {
      const file = path('disk.kage');
      await snapshotOf(drive, file);
      const again = await restoreMachine(file);
      await again.kill();
      const written = 'overlay' in drive && typeof drive.overlay === 'string' ? drive.overlay : disk;
      const { mtimeMs } = statSync(written);
      utimesSync(written, mtimeMs / 1000 + 5, mtimeMs / 1000 + 5);
      await assert.rejects(restoreMachine(file), refused('disk-changed'));
    });

  test('qcow2: restored where it and what is below it are as they were, else refused', async () => {
    const [image, below] = [path('disk.qcow2'), path('below.qcow2')];
    await createQcow2(below, { sizeBytes: 1 << 20 });
    await createQcow2(image, { sizeBytes: 1 << 20, backing: { name: 'below.qcow2', format: 'qcow2' } });
    for (const drive of [{ file: image }, { file: image, overlay: true }]) {
      for (const changed of [image, below]) {
        const file = path('qcow2.kage');
        await snapshotOf(drive, file);
        await (await restoreMachine(file)).kill();
        const { mtimeMs } = statSync(changed);
        utimesSync(changed, mtimeMs / 1000 + 5, mtimeMs / 1000 + 5);
        await assert.rejects(restoreMachine(file), refused('disk-changed'));
      }
    }
  });

  test('NBD: nobody could say whether it is as it was, so there is no snapshot, and the machine goes on', async () => {
    const server = new FakeNbdServer({ path: path('nbd.sock'), sizeBytes: 1 << 20, random: new Random(1) });
    await server.start();
    for (const overlay of [false, true]) {
      const machine = await createMachine(machineWith({ file: `nbd+unix:///?socket=${path('nbd.sock')}`, overlay }));
      await assert.rejects(machine.snapshot(path('nbd.kage')), refused('disk-without-identity'));
      assert.equal(machine.info.state, 'paused');
      await machine.kill();
    }
    await server.kill();
  });

  test('one that is in use is refused, and one that is gone', async () => {
    const file = path('used.kage');
    await snapshotOf({}, file);
    const user = await createMachine(machineWith({}));
    await assert.rejects(restoreMachine(file), refused('disk-in-use'));
    await user.kill();
    rmSync(disk);
    await assert.rejects(restoreMachine(file), refused('disk-not-found'));
  });
});
