/** Protection of machines on threads of their own: what is taken is gone when `protect` resolves, not a store later. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { assemble } from '../../isa/index.ts';
import { createMachine } from './index.ts';
import type { LocalMachine } from './machine.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-protection-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const DATA = 0x8010_0000;
const FAULTS = 0x8018_0000;
const HARTS = 2;
const PAGE = { start: DATA, end: DATA + 4096 } as const;

/** Each hart counts in a page as fast as it can; where it may not, it counts its faults, and tries again. */
const bios = join(folder, 'program.bin');
writeFileSync(
  bios,
  assemble(
    `
      la t0, handler
      csrw mtvec, t0
      csrr s2, mhartid
      slli s2, s2, 3
      li s0, ${DATA}
      add s0, s0, s2
      li s1, ${FAULTS}
      add s1, s1, s2
    count:
      ld t0, 0(s0)
      addi t0, t0, 1
      sd t0, 0(s0)
      j count
      .balign 4
    handler:
      ld t1, 0(s1)
      addi t1, t1, 1
      sd t1, 0(s1)
      mret`,
    0x8000_0000n,
  ).bytes,
);

async function start(more: object = {}): Promise<LocalMachine> {
  const options = { bios, cpus: HARTS, memoryBytes: 4 << 20, network: false, agent: false, hotThreshold: 50 };
  return (await createMachine({ ...options, ...more })) as LocalMachine;
}

function words({ board }: LocalMachine, gpa: number): number[] {
  const bytes = new Uint8Array(8 * HARTS);
  assert.ok(board.guestMemory.read(gpa, bytes));
  return [...new BigUint64Array(bytes.buffer)].map(Number);
}

/** Waits until every hart has counted on from there. */
async function moved(machine: LocalMachine, gpa: number, from = words(machine, gpa)): Promise<void> {
  while (!words(machine, gpa).every((count, hart) => count > (from[hart] ?? 0) + 10)) await sleep(1);
}

describe('on threads', () => {
  for (const translate of [false, true])
    test(`no hart stores once protect has resolved, ${translate ? 'translated' : 'interpreted'}`, async () => {
      await using machine = await start({ translate });
      await moved(machine, DATA);
      for (let round = 0; round < 25; round++) {
        await machine.protect({ action: 'deny', domains: ['firmware'], rights: 'w', ...PAGE });
        const counted = words(machine, DATA);
        await moved(machine, FAULTS);
        assert.deepEqual(words(machine, DATA), counted, `round ${round}`);
        await machine.protect({ action: 'allow', domains: ['firmware'], rights: 'w', ...PAGE });
        await moved(machine, DATA, counted);
      }
      const { domains, changes } = await machine.protection();
      assert.equal(changes, 50);
      const stores = domains.find(({ name }) => name === 'firmware')?.violations.store ?? 0;
      const faults = words(machine, FAULTS).reduce((sum, count) => sum + count);
      // Each counts its fault before its handler does.
      assert.ok(stores >= faults - HARTS, `${stores} violations, ${faults} faults`);
    });

  test('a paused machine is changed, too', async () => {
    await using machine = await start();
    await moved(machine, DATA);
    await machine.pause();
    await machine.protect({ action: 'deny', domains: ['firmware'], rights: 'w', ...PAGE });
    const counted = words(machine, DATA);
    await machine.resume();
    await moved(machine, FAULTS);
    assert.deepEqual(words(machine, DATA), counted);
  });
});

describe('by the instruction clock', () => {
  test('the same, with --protection-log', async () => {
    const protectionLog = join(folder, 'violations.log');
    {
      await using machine = await start({ clock: 'instructions', protectionLog });
      await moved(machine, DATA);
      await machine.protect({ action: 'deny', domains: ['firmware'], rights: 'w', ...PAGE });
      const counted = words(machine, DATA);
      await moved(machine, FAULTS);
      assert.deepEqual(words(machine, DATA), counted);
    }
    const lines = readFileSync(protectionLog, 'utf8').trimEnd().split('\n');
    const own = lines.filter((line) => !line.startsWith('...'));
    assert.ok(own.length > 20);
    for (const line of own)
      assert.match(
        line,
        /^hart [01] machine 800000[0-9a-f]{2} firmware may not w: store at 8010000[08], physical 8010000[08], frame [0-9a-f]+$/,
      );
  });
});

describe('without protection', () => {
  test('nothing is checked, and nothing can be changed', async () => {
    await using machine = await start({ protection: false });
    await moved(machine, DATA);
    const change = machine.protect({ action: 'deny', domains: ['firmware'], rights: 'w', ...PAGE });
    await assert.rejects(change, { code: 'protection-off' });
    await assert.rejects(machine.protection(), { code: 'protection-off' });
    await moved(machine, DATA);
    assert.deepEqual(words(machine, FAULTS), [0, 0]);
    assert.equal('protection' in (await machine.stats()), false);
  });

  test('a log that cannot be written is an error before anything runs', async () => {
    await assert.rejects(start({ protectionLog: join(folder, 'no', 'log') }), { code: 'bad-protection-log' });
  });
});
