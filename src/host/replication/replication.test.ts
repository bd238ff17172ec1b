/**
 * Machines of a bare program, replicated: what it says is a row of letters without a gap, so that whatever is lost or said twice
 * shows. (With Debian, disks and hosts that die: test/system/replication.test.ts.)
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { jsonOf, type Message, Peer } from '../../replication/index.ts';
import { createMachine, type MachineHandle, receiveMachine } from '../machine/index.ts';
import { addressText, connectStream, listenForStreams, parseAddress } from '../streams/index.ts';
import { checkedValue, helloShape } from './hello.ts';
import { nodePorts, streamCodecs } from './node-ports.ts';
import type { Receiver } from './receiver.ts';
import { Replica } from './replica.ts';
import { checkRow, talker } from './talker.testing.ts';
import { wireOf } from './wire.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-replicas-'));
const bios = join(folder, 'program.bin');

/** Whatever a test leaves running. */
const open: { kill?(): unknown; close?(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await (one.kill?.() ?? one.close?.());
});
before(() => writeFileSync(bios, talker()));
after(() => rmSync(folder, { recursive: true, force: true }));

let count = 0;
async function standby(more: { onLoss?: 'promote' } = {}): Promise<Receiver> {
  count += 1;
  const receiver = await receiveMachine({
    ...{ listen: `unix:${join(folder, `s${count}`)}`, machine: { name: `standby${count}` }, silenceMs: 20_000 },
    ...more,
  });
  open.push(receiver);
  receiver.machine.then(
    (machine) => open.push(machine),
    () => {},
  );
  return receiver;
}

async function talking(): Promise<{ machine: MachineHandle; said: () => string }> {
  const machine = await createMachine({ bios, memoryBytes: 16 << 20, network: false, name: `talker${count}` });
  open.push(machine);
  let text = '';
  machine.onConsole((bytes) => {
    text += Buffer.from(bytes).toString('latin1');
  });
  return { machine, said: () => text };
}

const history = (machine: MachineHandle): string => Buffer.from(machine.consoleHistory()).toString('latin1');

async function until(holds: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 2000 && !holds(); i++) await sleep(5);
  assert.ok(holds(), what);
}

const fast = { epochMs: 20, silenceMs: 20_000 };

test('promoted: it goes on from a checkpoint, behind everything that was heard', async () => {
  const receiver = await standby();
  const { machine, said } = await talking();
  await until(() => said().length > 10, 'it talks');
  await machine.replicate({ to: receiver.address, ...fast });
  assert.equal((await machine.replication()).state, 'protected');
  const from = said().length;
  await until(() => said().length > from + 30, 'what it says comes through');
  while (((await machine.replication()).measures?.checkpoints ?? 0) < 4) await sleep(5);
  const { epoch } = await receiver.promote();
  const heard = said();
  const twin = await receiver.machine;
  const known = history(twin);
  assert.ok(epoch > 2 && known.startsWith(heard), 'nobody heard what it does not know');
  await until(() => history(twin).length > known.length + 30, 'it goes on');
  checkRow(history(twin));
  await until(() => said().length > heard.length, 'the other goes on, too, without a standby');
  const { state, events, measures } = await machine.replication();
  assert.deepEqual([state, events[0]?.what], ['unprotected', 'unprotected']);
  assert.ok(measures && measures.checkpoints > 2 && measures.pagesEach.p50 > 0 && measures.pauseMs.p50 > 0);
  checkRow(said());
  await Promise.all([machine.kill(), twin.kill()]);
  await receiver.close();
});

test('moved: it goes on there, and here it has ended', async () => {
  const receiver = await standby();
  const { machine, said } = await talking();
  await until(() => said().length > 10, 'it talks');
  const { rounds, pages, downtimeMs } = await machine.migrate({ to: receiver.address, silenceMs: 20_000 });
  assert.ok(rounds >= 2 && pages > 0 && downtimeMs > 0);
  assert.equal((await machine.exited).reason, 'migrated');
  const there = await receiver.machine;
  assert.ok(history(there).startsWith(said()), 'all that was said here is known there');
  const before = history(there).length;
  await until(() => history(there).length > before + 30, 'it goes on');
  checkRow(history(there));
  // And on.
  const next = await standby();
  await there.migrate({ to: next.address, silenceMs: 20_000 });
  const last = await next.machine;
  const then = history(last).length;
  await until(() => history(last).length > then + 30, 'it goes on');
  checkRow(history(last));
  await last.kill();
  await Promise.all([receiver.close(), next.close()]);
});

test('the standby is lost: it waits, if it is told to, and then goes on; or another stands by', async () => {
  const receiver = await standby();
  const { machine, said } = await talking();
  await machine.replicate({ to: receiver.address, ...fast, onLoss: 'wait' });
  await assert.rejects(machine.replicate({ to: receiver.address }), { code: 'replicated-already' });
  await assert.rejects(machine.snapshot(join(folder, 'x')), { code: 'snapshot-replicated' });
  await receiver.close();
  await assert.rejects(receiver.machine, { code: 'standby-ended' });
  for (let i = 0; i < 400 && (await machine.replication()).state !== 'waiting'; i++) await sleep(5);
  const before = said();
  await sleep(60);
  assert.equal(said(), before, 'it says nothing');
  await machine.unreplicate();
  await until(() => said().length > before.length + 10, 'it goes on');
  const other = await standby();
  await machine.replicate({ to: other.address, ...fast });
  await machine.unreplicate();
  await until(() => other.report().state === 'orphaned', 'the standby is told');
  checkRow(said());
  await machine.kill();
  await other.close();
});

test('the guest ends: its standby waits for another; a source that dies is stood in for at once, if that is asked for', async () => {
  const receiver = await standby({ onLoss: 'promote' });
  const first = await talking();
  await first.machine.replicate({ to: receiver.address, ...fast });
  const second = await talking();
  await assert.rejects(second.machine.replicate({ to: receiver.address, ...fast }), { code: 'standby-in-use' });
  await first.machine.kill();
  await until(() => receiver.report().state === 'discarded', 'there is nothing to stand in for');
  await assert.rejects(receiver.promote(), { code: 'standby-not-ready' });
  await second.machine.replicate({ to: receiver.address, ...fast });
  await second.machine.unreplicate();
  const machine = await receiver.machine;
  checkRow(history(machine));
  await Promise.all([machine.kill(), second.machine.kill()]);
  await receiver.close();
});

/** What a source says first. */
async function helloOf(machine: MachineHandle): Promise<Record<string, unknown>> {
  const heard = Promise.withResolvers<Message>();
  const address = parseAddress(`unix:${join(folder, `hello${++count}`)}`);
  const listener = await listenForStreams(address, undefined, (stream) => {
    const peer = new Peer(wireOf(stream), streamCodecs, nodePorts, PEER, { message: heard.resolve, lost: () => {} });
    stream.on('data', (bytes: Buffer) => peer.push(bytes));
    void heard.promise.then(() => peer.close());
  });
  await assert.rejects(machine.replicate({ to: addressText(listener.address), ...fast }), { code: 'peer-lost' });
  listener.close();
  return { ...jsonOf(await heard.promise) };
}

/** What a receiver answers to it. */
async function answered(to: string, hello: unknown): Promise<string | undefined> {
  const stream = await connectStream(parseAddress(to), undefined);
  const answer = Promise.withResolvers<string | undefined>();
  const peer = new Peer(wireOf(stream), streamCodecs, nodePorts, PEER, {
    message: ({ kind }) => answer.resolve(kind),
    lost: (error) => answer.resolve((error as { code?: string }).code),
  });
  stream.on('data', (bytes: Buffer) => peer.push(bytes));
  peer.say('hello', hello);
  const said = await answer.promise;
  peer.close();
  return said;
}

const PEER = { packs: false, silenceMs: 20_000 };

test('guests are refused whose output could not wait: with shared folders, by the instruction clock; and what is no hello', async () => {
  const receiver = await standby();
  const { machine } = await talking();
  const hello = await helloOf(machine);
  const head = hello['head'] as { options: object };
  const with_ = (more: object): object => ({ ...hello, head: { ...head, options: { ...head.options, ...more } } });
  const share = { host: folder, guest: '/work' };
  assert.equal(await answered(receiver.address, with_({ shares: [share] })), 'not-replicable');
  assert.equal(await answered(receiver.address, with_({ clock: 'instructions' })), 'not-replicable');
  assert.equal(await answered(receiver.address, [1]), 'stream-damaged');
  assert.equal(await answered(receiver.address, hello), 'welcome');
});

test('a layer that does not take what the guest wrote: told, once', async () => {
  const { machine } = await talking();
  const replica = new Replica(checkedValue(await helloOf(machine), helloShape), { name: 'layered' });
  const backend = {
    ...{ sizeBytes: 4096, readOnly: false, read: () => {}, flush: () => {} },
    write: () => Promise.reject(new Error('no space left')),
  };
  replica.drives.push({ backend, temporary: {} } as unknown as (typeof replica.drives)[number]);
  const broken = new Promise((resolve) => {
    replica.onBroken = resolve;
  });
  replica.putDisks([{ drive: 0, change: { kind: 'data', offset: 0, bytes: new Uint8Array(512) } }]);
  assert.match(String(await broken), /no space left/);
});

test('how fast it writes, before it has a standby; nobody to reach', async () => {
  const { machine, said } = await talking();
  await until(() => said().length > 10, 'it talks');
  const { pagesPerSecond, pauseMs } = await machine.writeRate(200);
  assert.ok(pagesPerSecond > 0 && pauseMs >= 0);
  await assert.rejects(machine.replicate({ to: `unix:${join(folder, 'nobody')}` }), { code: 'peer-unreachable' });
  await assert.rejects(machine.migrate({ to: `unix:${join(folder, 'nobody')}` }), { code: 'peer-unreachable' });
  assert.equal((await machine.replication()).role, 'none');
  await machine.kill();
});
