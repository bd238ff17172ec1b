/**
 * Sound files that are not for this `kage`: of another version, or of another machine. Each is refused with what it is
 * and what to do, and a guest that runs meanwhile, and is asked to build on such a file, goes on to the instruction.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { OperatorError } from '../../base/errors.ts';
import { CHUNK } from '../../machine/index.ts';
import { createMachine, restoreMachine } from '../machine/index.ts';
import type { MachineHandle } from '../machine/machine-api.ts';
import { codecs } from './codecs.ts';
import { readChunks, writeChunks } from './fuzz.testing.ts';
import { raceMachine } from './snapshot.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-refusals-'));
const options = { ...raceMachine(join(folder, 'race.bin')), startPaused: true };
const [sound = '', bad = ''] = ['sound.kage', 'bad.kage'].map((name) => join(folder, name));

after(() => rmSync(folder, { recursive: true, force: true }));

// biome-ignore lint/suspicious/noExplicitAny: what a test changes in a file has no shape
type Changed = any;

interface Case {
  readonly name: string;
  readonly code: 'snapshot-version' | 'snapshot-other-machine';
  /** What the message says of it. */
  readonly says: RegExp;
  readonly head?: (head: Changed) => void;
  readonly state?: (state: Changed) => void;
  /** The format's number. */
  readonly format?: number;
}

const hart = (field: string, change: (value: bigint) => bigint): Pick<Case, 'code' | 'says' | 'state'> => ({
  ...{ code: 'snapshot-other-machine', says: /harts have other extensions/ },
  state: ({ board }) => {
    const { state } = board.vcpus[0];
    state[field] = `${change(BigInt(state[field]))}`;
  },
});

const cases: readonly Case[] = [
  { name: 'a later format', code: 'snapshot-version', says: /format is 3, and this one reads format 2/, format: 3 },
  { name: 'an earlier format', code: 'snapshot-version', says: /format is 1/, format: 1 },
  {
    ...{ name: 'another vCPU', code: 'snapshot-version', says: /another vcpu$/ },
    head: ({ layouts }) => Object.assign(layouts, { vcpu: 'f'.repeat(layouts.vcpu.length) }),
  },
  {
    ...{ name: 'another UART', code: 'snapshot-version', says: /another serial@10000000$/ },
    head: ({ layouts }) => Object.assign(layouts, { 'serial@10000000': layouts['rtc@101000'] }),
  },
  {
    ...{ name: 'a device less', code: 'snapshot-version', says: /another rtc@101000$/ },
    head: ({ layouts }) => delete layouts['rtc@101000'],
  },
  {
    ...{ name: 'a device more', code: 'snapshot-version', says: /has a floppy@1, which there is not here/ },
    head: ({ layouts }) => Object.assign(layouts, { 'floppy@1': layouts.vcpu }),
  },
  {
    ...{ name: 'harts of 32 bits', code: 'snapshot-other-machine', says: /2 harts of 32 bits/ },
    head: (head) => Object.assign(head, { xlen: 32 }),
  },
  {
    ...{ name: 'another number of harts', code: 'snapshot-other-machine', says: /3 harts of 64 bits/ },
    head: (head) => Object.assign(head, { harts: 3 }),
  },
  {
    ...{ name: 'harts that lack an extension here', code: 'snapshot-other-machine', says: /harts with zba/ },
    head: (head) => Object.assign(head.options, { cpu: 'rv64,zba=off,zbb=off' }),
  },
  {
    ...{ name: 'harts that have one more here', code: 'snapshot-other-machine', says: /harts without zba/ },
    head: (head) => Object.assign(head, { extensions: head.extensions.filter((name: string) => name !== 'zba') }),
  },
  { name: 'other features', ...hart('features', (features) => features ^ 1n) },
  { name: 'another misa', ...hart('misa', (misa) => misa ^ 4n) },
  { name: 'another hart in its place', ...hart('mhartid', (id) => id + 1n) },
];

/** The sound file with a change, and right checksums. */
function write({ head, state, format }: Case): void {
  const chunks = readChunks(sound).map((chunk) => {
    const change = chunk.kind === CHUNK.head ? head : chunk.kind === CHUNK.state ? state : undefined;
    if (change === undefined) return chunk;
    const json: unknown = JSON.parse(Buffer.from(chunk.data).toString());
    change(json);
    return { ...chunk, data: Buffer.from(JSON.stringify(json)) };
  });
  writeChunks(bad, chunks);
  if (format === undefined) return;
  const bytes = readFileSync(bad);
  bytes.writeUInt32LE(format, 8);
  bytes.writeUInt32LE(codecs.crc32(bytes.subarray(0, 12)), 12);
  writeFileSync(bad, bytes);
}

const finish = async (machine: MachineHandle): Promise<readonly [string, unknown]> => {
  await machine.resume();
  assert.deepEqual(await machine.exited, { reason: 'poweroff', code: 0 });
  const { vcpus } = (await machine.stats()) as unknown as { vcpus: { instructions: number }[] };
  const said = Buffer.from(machine.consoleHistory()).toString('latin1');
  return [said, vcpus.map((vcpu) => vcpu.instructions)];
};

describe('a snapshot of another version or machine is refused', () => {
  let alone: readonly [string, unknown];
  let running: MachineHandle;
  before(async () => {
    const machine = await createMachine(options);
    await machine.snapshot(sound);
    alone = await finish(machine);
    running = await createMachine(options);
  });

  test('where nothing was changed, it is none', async () => {
    write({ name: '', code: 'snapshot-version', says: /./ });
    assert.deepEqual(await finish(await restoreMachine(bad)), alone);
  });

  for (const one of cases)
    test(`${one.name}: ${one.code}`, async () => {
      write(one);
      const left = readdirSync(folder);
      await assert.rejects(restoreMachine(bad), (error) => {
        assert.ok(error instanceof OperatorError, String(error));
        assert.equal(error.code, one.code, error.message);
        assert.match(error.message, one.says);
        assert.ok(error.message.includes(bad) && /kage that took it/.test(error.fix), error.fix);
        return true;
      });
      assert.deepEqual(readdirSync(folder), left);
    });

  test('a guest that runs is none the worse, and takes no increment of one in another format', async () => {
    write({ name: '', code: 'snapshot-version', says: /./, format: 1 });
    const increment = running.snapshot(join(folder, 'increment.kage'), { base: bad });
    await assert.rejects(increment, (error) => error instanceof OperatorError && error.code === 'snapshot-version');
    assert.deepEqual(await finish(running), alone);
  });
});
