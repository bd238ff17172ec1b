import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../base/assert.ts';
import { OperatorError } from '../base/errors.ts';
import { type Processor, shadowBytes } from '../engine/index.ts';
import { DOMAIN } from '../hypervisor/index.ts';
import { FEATURE } from '../isa/index.ts';
import { Board } from './board.ts';
import { type BoardOptions, boardConfig, extensionsOf, partitionConfig } from './board-config.ts';
import { tellOfFrames } from './board-runner.ts';
import type { BoardConfig } from './board-shape.ts';
import { readConfig, writeConfig } from './config-bytes.ts';
import { bareSlot, slotLayout } from './slots.ts';

const MiB = 2 ** 20;
const ports = {
  clock: { ticks: () => 0n, wallMs: () => 0 },
  slotLayout,
  slot: bareSlot,
};

test('a configuration in memory is what it was', () => {
  const config = boardConfig({ cpus: 3, traps: ['wfi'], pin: [0], room: { partitions: 2 } });
  assert.deepEqual(readConfig(writeConfig(config)), config);
});

test('partitions have arenas, vCPUs and numbers of their own, which serve the next when they are gone', () => {
  const config = boardConfig({ memoryBytes: 2 * MiB, room: { partitions: 3, memoryBytes: 16 * MiB } });
  const first = Board.create(config, ports);
  const { commons } = first;
  first.schedule();
  const join = (cpus: number): Board => {
    const board = Board.join(commons, partitionConfig({ cpus, memoryBytes: 2 * MiB }, config), ports);
    board.schedule();
    return board;
  };
  const second = join(3);
  const third = join(2);
  assert.deepEqual(
    [first, second, third].map((board) => board.partition),
    [0, 1, 2],
  );
  assert.throws(
    () => join(1),
    (error) => error instanceof OperatorError && error.code === 'machine-full',
  );
  // Another thread's view: found by its number alone.
  const seen = Board.attach(commons, second.partition, ports);
  assert.deepEqual(seen.config, second.config);
  assert.deepEqual(
    seen.vcpus.map(({ at }) => at),
    second.vcpus.map(({ at }) => at),
  );
  assert.equal(seen.vcpus[2]?.state.partition, 1);
  assert.deepEqual(commons.ownerOf(2), { partition: 1, hart: 1 });
  assert.deepEqual(commons.ownerOf(4), { partition: 2, hart: 0 });
  // The middle one goes, and leaves zeros.
  second.guestMemory.setUp(0x8000_0000, Uint8Array.of(1, 2, 3));
  const { frameNext } = commons.memory.header;
  const host = second.map.host(0x80000, 'read');
  const pools = second.vcpus.map(({ state }) => Number(state.shadowPool));
  assert.equal(new Set(pools).size, 3, 'each hart has shadows of its own');
  const shadows = commons.memory.u8.subarray(pools[0], must(pools[0]) + shadowBytes(second.config.shadows));
  shadows.fill(0xa5, 0, 4096);
  for (const { scheduled } of second.vcpus) scheduled?.scheduler.remove(scheduled.number);
  assert.equal(second.isScheduled, false);
  commons.scheduler?.removeShare(1);
  const change = commons.withdraw(1);
  assert.equal(commons.isSeen(change, [0]), false);
  commons.saw(0, change);
  assert.equal(commons.isSeen(change, [0]), true);
  assert.equal(commons.generation(1), undefined);
  second.giveFrames();
  commons.release(1);
  assert.equal(commons.memory.header.poolCount, 1);
  assert.ok(shadows.every((byte) => byte === 0));
  const next = join(1);
  assert.equal(next.partition, 1);
  assert.equal(next.vcpus[0]?.at, second.vcpus[0]?.at);
  assert.equal(next.world.run, 0);
  commons.memory.header.frameLimit = frameNext;
  assert.equal(next.map.host(0x80001, 'write'), host);
  assert.deepEqual([...commons.memory.u8.subarray(host, host + 4)], [0, 0, 0, 0]);
  assert.equal(next.map.host(0x80002, 'write'), 0);
});

test('what the machine decides a partition may not say', () => {
  const machine = boardConfig({ cpu: 'rv64,zba=off', translate: false, room: {} });
  const own = partitionConfig({ cpus: 2, bios: 'none', weight: 3 }, machine);
  assert.equal(own.cpu, 'rv64,zba=off');
  assert.equal(own.translation, undefined);
  assert.equal(own.features & machine.features, own.features);
  assert.notEqual(own.features, machine.features);
  for (const given of [{ processors: 1 }, { clock: 'real' as const }, { translate: true }])
    assert.throws(() => partitionConfig(given, machine), { code: 'set-by-machine' });
  assert.throws(() => boardConfig({ room: {}, clock: 'instructions' }), { code: 'no-processors' });
  assert.throws(() => boardConfig({ room: { partitions: 0 } }), { code: 'bad-room' });
  assert.throws(() => boardConfig({ room: { memoryBytes: 4096 } }), { code: 'bad-room' });
});

test('a partition has the hypervisor extension only if it asks for it, and the machine has it', () => {
  const machine = boardConfig({ nested: true, room: {} });
  const H = FEATURE.h | FEATURE.smstateen;
  const letter = (misa: bigint): bigint => (misa >> 7n) & 1n;
  const names = (config: BoardConfig): boolean => extensionsOf(config).has('h');
  assert.deepEqual([machine.features & H, letter(machine.misa), names(machine)], [H, 1n, true]);
  for (const [options, bits, one] of [
    [{}, 0n, 0n],
    [{ nested: false }, 0n, 0n],
    [{ nested: true }, H, 1n],
    [{ nested: true, bios: 'none' }, H, 1n],
  ] as const) {
    const own = partitionConfig(options, machine);
    assert.deepEqual([own.features & H, letter(own.misa), names(own), own.cpu], [bits, one, one === 1n, machine.cpu]);
  }
  const plain = boardConfig({ room: {} });
  assert.throws(() => partitionConfig({ nested: true }, plain), { code: 'no-hypervisor-extension' });
  assert.equal(partitionConfig({}, plain).features, plain.features);
});

test('a hart has fewer shadows in a machine of many, and a guest as many as it asks for', () => {
  const count = (room: { partitions?: number }, own?: BoardOptions): number | undefined => {
    const machine = boardConfig({ room });
    return (own ? partitionConfig(own, machine) : machine).shadows.count;
  };
  assert.deepEqual([count({}), count({ partitions: 60 }), count({ partitions: 200 })], [32, 7, 6]);
  assert.deepEqual([count({ partitions: 60 }, {}), count({ partitions: 60 }, { shadows: 3 })], [7, 3]);
  assert.throws(() => count({}, { shadowModel: 'tracked' }), { code: 'bad-shadow-model' });
});

test('each partition has tables of its own, of which a frame that goes back to the machine is taken out', () => {
  const config = boardConfig({ memoryBytes: 2 * MiB, room: { partitions: 3, memoryBytes: 256 * MiB } });
  const first = Board.create(config, ports);
  first.schedule();
  const join = (options: BoardOptions): Board => {
    const board = Board.join(first.commons, partitionConfig({ memoryBytes: 2 * MiB, ...options }, config), ports);
    board.schedule();
    return board;
  };
  const second = join({});
  const page = 0x80000;
  const mine = first.map.host(page, 'write') / 4096;
  const others = second.map.host(page, 'write') / 4096;
  const rights = ({ protection }: Board, frame: number): number => must(protection).frameRights(DOMAIN.kernel, frame);
  assert.deepEqual([rights(first, mine), rights(first, others)], [7, 0]);
  assert.deepEqual([rights(second, mine), rights(second, others)], [0, 7]);
  // As generated code tells of them, for whichever vCPU the processor runs.
  const told: Pick<Processor, 'onHanded'> = { onHanded: undefined };
  tellOfFrames(told, (partition) => [first, second][partition]);
  const spare = others + 1;
  told.onHanded?.(1, spare, page + 1);
  assert.deepEqual([rights(first, spare), rights(second, spare)], [0, 7]);
  told.onHanded?.(1, spare, -1);
  assert.deepEqual([rights(first, spare), rights(second, spare)], [0, 0]);
  // Rights are changed behind the machine's barrier, one partition's alone.
  const change = { domains: [DOMAIN.kernel], rights: 2, isAllowed: false, first: page, end: page + 1 };
  assert.ok(must(second.protection).tryChange(second, change) !== undefined);
  assert.deepEqual([rights(first, mine), rights(second, others)], [7, 5]);
  assert.ok(
    first.exclusion.exclude(() => {
      assert.equal(must(first.protection).tryChange(first, change), undefined, 'somebody else is at it');
    }),
  );
  // Any frame of the machine can be anybody's: tables reach to the last one.
  const { frameFirst, frameLimit } = first.memory.header;
  const last = frameLimit - 1;
  assert.ok(last - frameFirst > 256 * 256);
  must(second.protection).handed(last, page + 2);
  assert.deepEqual([rights(second, last), rights(first, last)], [7, 0]);
  second.giveFrames();
  assert.equal(rights(second, others), 0, 'before its tables go');
});

test('a machine has room for the tables of as many partitions as it is made for', () => {
  for (const [partitions, memoryBytes] of [
    [3, 8 * MiB],
    [16, 2048 * MiB],
    [200, 1024 * MiB],
  ] as const) {
    const config = boardConfig({ memoryBytes: 2 * MiB, room: { partitions, memoryBytes } });
    const { commons } = Board.create(config, ports);
    const each = {
      memoryBytes: Math.floor(memoryBytes / partitions / 2 / 4096) * 4096,
      drives: [{ file: 'a' }, { file: 'b' }],
    };
    for (let i = 1; i < partitions; i++) Board.join(commons, partitionConfig(each, config), ports);
  }
});

test('a thread that was ended while it held locks of the board holds them no more', () => {
  const board = Board.create(boardConfig({ memoryBytes: 2 * MiB, pci: true }), ports);
  const locks = new Set(board.devices.map((model) => board.lockOf(model)));
  assert.ok(locks.size > 10);
  for (const lock of locks) lock.acquire();
  board.freeLocks();
  for (const lock of locks) assert.ok(lock.tryAcquire());
});
