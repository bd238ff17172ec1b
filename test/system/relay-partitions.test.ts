/**
 * The interrupt relay where functions belong to two guests: two Debian kernels in one machine, whose cards are behind the
 * same ports. By INTx they share lines; twins send the very same messages. Both are under load at once, and each sees its
 * own interrupts alone; with the relay no function is polled, with plain wires those of both guests are. One guest's storm
 * is held back and leaves the other alone, and a guest that ends with its pin up leaves no line up.
 */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { must } from '../../src/base/assert.ts';
import type { MachineOptions } from '../../src/host/machine/index.ts';
import { LocalMachine } from '../../src/host/machine/machine.ts';
import type { FabricStats, RequesterStats } from '../../src/machine/index.ts';
import { requires } from '../capability.ts';
import { debianImage, Guest } from './guest.testing.ts';
import { packagesDisk } from './guest-packages.testing.ts';
import { Storm } from './storm.testing.ts';

const LIMIT_MS = 240_000;

/** Devices behind root ports, in the order that `--pci on` gives them, and as Linux numbers them; not those that are never at rest. */
const CARDS = {
  net: { place: '03:00.0', driver: 'virtio2' },
  disk: { place: '05:00.0', driver: 'virtio4' },
} as const;
const RNG = '02:00.0';
type Card = keyof typeof CARDS;
const BUSY: readonly Card[] = ['net', 'disk'];

const LOAD = `
  dd if=/dev/urandom of=/tmp/data bs=64k count=16 2> /dev/null
  ping -c 20 -i 0.01 10.0.2.2 > /tmp/pings &
  dd if=/dev/hwrng bs=16 count=64 of=/dev/null 2> /dev/null &
  dd if=/tmp/data of=/dev/vda bs=4k oflag=direct 2> /dev/null
  dd if=/dev/vda bs=4k count=256 iflag=direct 2> /dev/null | cmp - /tmp/data && echo same
  wait
  grep -o '20 packets received' /tmp/pings`;

async function works(guest: Guest): Promise<void> {
  const { stdout, stderr } = await guest.run(LOAD);
  assert.equal(stdout, 'same\n20 packets received\n', stderr);
}

async function statsOf({ machine }: Guest): Promise<FabricStats> {
  return ((await machine.stats()) as { interrupts: FabricStats }).interrupts;
}

const at = ({ requesters }: FabricStats, place: string): RequesterStats => must(requesters[place]);
const cardOf = (stats: FabricStats, card: Card): RequesterStats => at(stats, CARDS[card].place);

/** What a card's interrupts are by its own guest's count, and by the machine's. */
async function counted(guest: Guest): Promise<Record<Card, { readonly seen: number; readonly stats: RequesterStats }>> {
  const { stdout } = await guest.run('cat /proc/interrupts');
  const stats = await statsOf(guest);
  const seen = (card: Card): number =>
    stdout
      .split('\n')
      .filter((line) => line.includes(CARDS[card].driver))
      .reduce((sum, line) => sum + Number(line.trim().split(/\s+/)[1]), 0);
  const both = (card: Card) => ({ seen: seen(card), stats: cardOf(stats, card) });
  return { net: both('net'), disk: both('disk') };
}

/** What a guest's kernel says of interrupts that were nobody's. */
async function complaints(guest: Guest): Promise<string> {
  return (await guest.run("dmesg | grep -E 'nobody cared|Disabling IRQ|spurious' || echo none")).stdout.trim();
}

/** Each interrupt was delivered, or found its like waiting. */
function assertWhole(t: TestContext, name: string, stats: FabricStats): void {
  t.diagnostic(`${name}: ${JSON.stringify(stats)}`);
  for (const [place, { interrupts, merged, delivered, dropped }] of Object.entries(stats.requesters))
    assert.deepEqual([delivered + merged, dropped], [interrupts, 0], `${name} ${place}`);
  assert.equal(stats.unknown, 0);
}

/** Both work at once; then one alone, and the other sees nothing of it. */
async function bothWork(t: TestContext, pair: readonly [Guest, Guest], relay: boolean): Promise<void> {
  await Promise.all(pair.map(works));
  const [busy, idle] = pair;
  const [busyBefore, idleBefore] = [await counted(busy), await counted(idle)];
  await works(busy);
  const [busyNow, idleNow] = [await counted(busy), await counted(idle)];
  for (const card of BUSY) {
    const sent = busyNow[card].stats.interrupts - busyBefore[card].stats.interrupts;
    assert.ok(sent >= 20, `${card}: ${sent} interrupts`);
    assert.ok(busyNow[card].seen > busyBefore[card].seen, `${card}: the busy guest sees them`);
    // A guest is never quite idle, and its disk shares a line with its console.
    const own = idleNow[card].stats.interrupts - idleBefore[card].stats.interrupts;
    const seen = idleNow[card].seen - idleBefore[card].seen;
    assert.ok(own < sent / 2 && seen < sent / 2, `${card}: the idle guest has ${own}, sees ${seen}, beside ${sent}`);
    // Who cannot tell whose function it was asks those of both guests, also the idle one's.
    const polls = idleNow[card].stats.polls - idleBefore[card].stats.polls;
    if (relay) assert.equal(polls, 0, card);
    else assert.ok(polls >= sent, `${card}: ${polls} polls of the idle guest's for ${sent} interrupts`);
  }
  const [ofBusy, ofIdle] = [await statsOf(busy), await statsOf(idle)];
  for (const [name, stats] of Object.entries({ busy: ofBusy, idle: ofIdle })) assertWhole(t, name, stats);
  if (relay) assert.ok(ofBusy.polls === 0 && ofBusy.pollsAvoided > ofBusy.interrupts, `${ofBusy.pollsAvoided} avoided`);
  else assert.ok(ofBusy.polls > ofBusy.interrupts && ofBusy.pollsAvoided === 0, `${ofBusy.polls} polls`);
  for (const guest of pair) assert.equal(await complaints(guest), 'none');
}

const name = (what: string): string => `relay-${what}-${process.pid}`;

async function options(aia: 'none' | 'aplic-imsic') {
  const { kernel, initrd, commandLine } = await debianImage();
  const drives = [{ file: await packagesDisk(['pciutils']), overlay: true }];
  return {
    ...{ kernel, initrd, append: commandLine, memoryBytes: 256 << 20, drives, aia, pci: true },
  } as const satisfies MachineOptions;
}

const boardOf = ({ machine }: Guest) => {
  assert.ok(machine instanceof LocalMachine);
  return machine.board;
};

/** So long as nothing else says when a storm has been one. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe('two Debian guests whose functions share ports', requires('apt'), () => {
  for (const relay of [true, false]) {
    const wires = relay ? 'relay' : 'plain wires';

    test(`${wires}: a line of both; a storm; a guest that ends with its pin up`, { timeout: LIMIT_MS }, async (t) => {
      const own = await options('none');
      const made = { ...own, processors: 2, relay, interruptRate: 10_000, name: name('first') };
      await using first = await Guest.start({ ...made, room: { partitions: 3 } }, LIMIT_MS);
      await using second = Guest.of(await first.machine.createPartition({ ...own, name: name('second') }), LIMIT_MS);
      await bothWork(t, [first, second], relay);

      const before = await statsOf(first);
      await using storm = new Storm(second.machine, 'rng0');
      const isHeldBack = async () => at(await statsOf(second), RNG).deferrals >= 3;
      await until(isHeldBack);
      await works(first);
      await storm.stop();
      const [ofFirst, ofRng] = [await statsOf(first), at(await statsOf(second), RNG)];
      t.diagnostic(`${storm.pulses} pulses: ${JSON.stringify(ofRng)}`);
      assert.ok(ofRng.delivered < ofRng.interrupts, 'what is held back is merged');
      for (const card of BUSY)
        assert.equal(cardOf(ofFirst, card).deferrals, cardOf(before, card).deferrals, 'nobody else waits');
      assertWhole(t, 'first, beside a storm', ofFirst);
      assert.equal(await complaints(first), 'none');

      // The card's pin is up, and its guest will never deal with it.
      const { func } = must(must(boardOf(second).pci).functions.find(({ config }) => config.id === 'rng0'));
      assert.ok(func.interrupts.isPinWanted);
      const idle = await counted(first);
      await second.machine.kill();
      const after = await counted(first);
      for (const card of BUSY) assert.ok(after[card].seen - idle[card].seen < 10, 'no line is up for it');
      await works(first);
      // Who comes in its place has its numbers, and nothing of its interrupts.
      await using third = Guest.of(await first.machine.fork({ name: name('third') }), LIMIT_MS);
      assert.equal(boardOf(third).partition, 1);
      await Promise.all([first, third].map(works));
      must(must(boardOf(third).pci).functions[1]).func.setInterrupt(true);
      await third.run('reboot -f').catch(() => undefined);
      await third.machine.exited;
      await works(first);
      assertWhole(t, 'first, at the end', await statsOf(first));
      assert.equal(await complaints(first), 'none');
    });

    test(`${wires}: a message of both, which twins send alike`, { timeout: LIMIT_MS }, async (t) => {
      const made = { ...(await options('aplic-imsic')), processors: 2, relay, name: name('original') };
      await using original = await Guest.start({ ...made, room: { partitions: 2 } }, LIMIT_MS);
      await original.machine.ready();
      await using twin = Guest.of(await original.machine.fork({ name: name('twin') }), LIMIT_MS);
      const [one, other] = [original, twin].map((guest) => {
        const { func } = must(must(boardOf(guest).pci).functions.find(({ config }) => config.id === 'disk0'));
        return [...func.interrupts.state.table];
      });
      assert.deepEqual(one, other, 'address and data are the same');
      await bothWork(t, [original, twin], relay);
      await twin.machine.kill();
      await works(original);
      assertWhole(t, 'original', await statsOf(original));
    });
  }
});
