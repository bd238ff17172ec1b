/** A bare guest that talks, with a deadline: what is heard of it, and when. (With Debian, frames and SIGSTOP: test/system/lease.test.ts.) */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { must } from '../../base/assert.ts';
import { checkRow, talker } from '../replication/talker.testing.ts';
import {
  createMachine,
  type Lease,
  type MachineHandle,
  type MachineOptions,
  receiveMachine,
  restoreMachine,
} from './index.ts';
import { leaseClock } from './lease-clock.ts';
import type { LocalMachine } from './machine.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-lease-'));
const bios = join(folder, 'talker.bin');
const open: { kill?(): unknown; close?(): unknown }[] = [];
before(() => writeFileSync(bios, talker()));
afterEach(async () => {
  for (const one of open.splice(0)) await (one.kill?.() ?? one.close?.());
});
after(() => rmSync(folder, { recursive: true, force: true }));

const HOUR_MS = 3_600_000;
const lease = (leftMs: number): Lease => ({
  ...{ incarnation: 3, generation: 7 },
  deadlineMs: leaseClock().nowMs() + leftMs,
});
const later = (leftMs: number) => ({ incarnation: 3, deadlineMs: leaseClock().nowMs() + leftMs });
const saidBy = (machine: MachineHandle): string => Buffer.from(machine.consoleHistory()).toString('latin1');

async function start(options: Partial<MachineOptions>): Promise<MachineHandle> {
  const machine = await createMachine({ bios, memoryBytes: 16 << 20, network: false, ...options });
  open.push(machine);
  return machine;
}

async function until(holds: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 2000 && !holds(); i++) await sleep(5);
  assert.ok(holds(), what);
}

/** It says nothing any more, for as long as one looks. */
async function checkSilent(machine: MachineHandle): Promise<void> {
  const before = saidBy(machine);
  await sleep(100);
  assert.equal(saidBy(machine), before);
}

test('it falls silent at its deadline by itself, and goes on with a later one, without a gap', async () => {
  const machine = await start({ lease: lease(HOUR_MS) });
  await until(() => saidBy(machine).length > 10, 'it talks');
  assert.equal(machine.info.lease?.isExpired, false);
  await machine.kill();
  const short = await start({ lease: lease(300) });
  await until(() => short.info.lease?.isExpired === true, 'the deadline passes');
  assert.equal(short.info.state, 'paused');
  await checkSilent(short);
  const before = saidBy(short).length;
  const { deadlineMs, isPaused } = await short.lease(later(HOUR_MS));
  assert.deepEqual([isPaused, short.info.state, short.info.lease?.deadlineMs], [false, 'running', deadlineMs]);
  await until(() => saidBy(short).length > before + 30, 'it goes on');
  checkRow(saidBy(short));
  await assert.rejects(short.lease({ incarnation: 4, deadlineMs: deadlineMs + 1 }), { code: 'lease-incarnation' });
});

test("an operator's pause and the deadline's are two: neither undoes the other", async () => {
  const machine = await start({ lease: lease(-1) });
  assert.deepEqual([machine.info.state, machine.info.lease?.isExpired], ['paused', true]);
  await machine.resume();
  await checkSilent(machine);
  assert.equal(saidBy(machine), '', 'it began stopped');
  await machine.pause();
  assert.deepEqual((await machine.lease(later(HOUR_MS))).isPaused, true);
  await checkSilent(machine);
  await machine.resume();
  await until(() => saidBy(machine).length > 10, 'it talks');
  checkRow(saidBy(machine));
});

test('a machine without a deadline takes none; one for several guests, or by the instruction clock, has none', async () => {
  const machine = await start({});
  assert.equal(machine.info.lease, undefined);
  await assert.rejects(machine.lease(later(HOUR_MS)), { code: 'no-lease' });
  await assert.rejects(start({ lease: lease(1000), room: {} }), { code: 'bad-lease' });
  await assert.rejects(start({ lease: lease(1000), clock: 'instructions' }), { code: 'bad-lease' });
  await assert.rejects(start({ lease: { ...lease(1000), generation: -1 } }), { code: 'bad-lease' });
});

test('a snapshot has no deadline in it: who restores it gives one, or none', async () => {
  const machine = await start({ lease: lease(HOUR_MS) });
  const file = join(folder, 'snapshot');
  await machine.snapshot(file, { stop: true });
  const free = await restoreMachine(file, {});
  open.push(free);
  assert.equal(free.info.lease, undefined);
  await until(() => saidBy(free).length > 10, 'it talks');
  await free.kill();
  const bound = await restoreMachine(file, { lease: lease(-1) });
  open.push(bound);
  assert.equal(bound.info.lease?.isExpired, true);
  const before = saidBy(bound);
  await checkSilent(bound);
  await bound.lease(later(HOUR_MS));
  await until(() => saidBy(bound).length > before.length + 10, 'it goes on');
});

test('a standby is promoted with a deadline of its own; its source, behind its own, tells nobody that it has ended', async () => {
  const receiver = await receiveMachine({
    ...{ listen: `unix:${join(folder, 'standby')}`, machine: { name: 'standby' }, silenceMs: 20_000 },
  });
  open.push(receiver);
  const machine = await start({ lease: lease(HOUR_MS) });
  await machine.replicate({ to: receiver.address, epochMs: 20, silenceMs: 20_000, onLoss: 'wait' });
  await assert.rejects(receiver.promote({ files: [{ drive: 0, file: '/tmp/x' }] }), { code: 'bad-usage' });
  await receiver.promote({ lease: { ...lease(HOUR_MS), incarnation: 5, generation: 8 } });
  const there = await receiver.machine;
  open.push(there);
  assert.deepEqual(there.info.lease && { ...there.info.lease, deadlineMs: 0 }, {
    ...{ incarnation: 5, generation: 8, deadlineMs: 0, isExpired: false },
  });
  const before = saidBy(there).length;
  await until(() => saidBy(there).length > before + 10, 'it goes on');
  checkRow(saidBy(there));
  await machine.kill();

  const other = await receiveMachine({
    ...{ listen: `unix:${join(folder, 'other')}`, machine: { name: 'other' }, silenceMs: 20_000 },
  });
  open.push(other);
  const short = await start({ lease: lease(HOUR_MS) });
  await short.replicate({ to: other.address, epochMs: 20, silenceMs: 20_000, onLoss: 'wait' });
  const { deadlineMs } = await short.lease(later(HOUR_MS + 1000));
  assert.equal(short.info.lease?.deadlineMs, deadlineMs);
  await short.kill();
  await until(() => other.report().state === 'discarded', 'in time, its end is told');
  const late = await start({ lease: lease(1500) });
  await late.replicate({ to: other.address, epochMs: 20, silenceMs: 20_000, onLoss: 'wait' });
  await until(() => late.info.lease?.isExpired === true, 'the deadline passes');
  await late.kill();
  await until(() => other.report().state === 'orphaned', 'nobody ended the guest');
  await other.promote({ lease: lease(HOUR_MS) });
  open.push(await other.machine);
});

test('a standby is promoted with other addresses of its disks, of which the next one hears', async () => {
  const [old, anew, third] = ['old', 'anew', 'third'].map((name) => join(folder, name));
  for (const file of [old, anew, third]) writeFileSync(must(file), new Uint8Array(1 << 16));
  const receive = async (name: string) => {
    const options = { listen: `unix:${join(folder, name)}`, machine: { name }, silenceMs: 20_000 };
    const receiver = await receiveMachine(options);
    open.push(receiver);
    return receiver;
  };
  const drives = [
    { file: must(old), format: 'raw' },
    { file: must(third), format: 'raw', readOnly: true },
  ] as const;
  const machine = await start({ drives, name: 'first' });
  const [one, other] = [await receive('one'), await receive('other')];
  await machine.replicate({ to: one.address, epochMs: 20, silenceMs: 20_000 });
  await assert.rejects(one.promote({ files: [{ drive: 2, file: must(anew) }] }), { code: 'bad-usage' });
  await one.promote({
    files: [
      { drive: 0, file: must(anew) },
      { drive: 1, file: must(third) },
    ],
  });
  const there = (await one.machine) as LocalMachine;
  open.push(there);
  assert.deepEqual(
    there.drives.map(({ options }) => options.file),
    [anew, third],
  );
  await machine.kill();
  await there.replicate({ to: other.address, epochMs: 20, silenceMs: 20_000 });
  await there.unreplicate();
  await there.kill();
  await other.promote();
  const last = (await other.machine) as LocalMachine;
  open.push(last);
  assert.deepEqual(
    last.drives.map(({ options }) => options.file),
    [anew, third],
  );
});
