/**
 * What promotion does, by the instruction clock: the guest's run is the same whatever is promoted; few sites need few
 * bytes; what cools down gives them back. bench/promotion.ts measures what it is worth.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createMachine } from '../src/host/machine/index.ts';
import type { BoardStats, PromotionMode } from '../src/machine/index.ts';
import { type Phases, promotionGuest } from './promotion-guest.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-promotion-'));
after(() => rmSync(folder, { recursive: true, force: true }));

let guests = 0;

async function run(phases: Phases, promotion: PromotionMode): Promise<{ seen: unknown; stats: BoardStats }> {
  const kernel = join(folder, `guest-${guests++}`);
  writeFileSync(kernel, promotionGuest(phases));
  const machine = await createMachine({
    ...{ kernel, promotion, memoryBytes: 16 << 20, network: false, agent: false, clock: 'instructions', seed: 1 },
    startPaused: true,
  });
  let console = '';
  machine.onConsole((bytes) => {
    console += Buffer.from(bytes).toString('latin1');
  });
  await machine.resume();
  const { reason } = await machine.exited;
  const stats = (await machine.stats()) as unknown as BoardStats;
  return { seen: { reason, console, instructions: stats.vcpus[0]?.instructions }, stats };
}

test('a guest sees the same whatever is promoted, and what is promoted does not leave the engine', async () => {
  const phases = { sites: 300, often: 40_000, heavy: 20_000 };
  const off = await run(phases, 'off');
  assert.deepEqual(off.stats.promotion, {
    mode: 'off',
    promoted: 0,
    demoted: 0,
    bytes: 0,
    peakBytes: 0,
    executions: 0,
    accesses: 0,
    calls: 0,
  });
  const auto = await run(phases, 'auto');
  const always = await run(phases, 'always');
  assert.deepEqual(auto.seen, off.seen);
  assert.deepEqual(always.seen, off.seen);
  assert.match(JSON.stringify(off.seen), /sSfFhH/);
  for (const { stats } of [auto, always]) {
    const { exits } = stats.vcpus[0] as BoardStats['vcpus'][number];
    assert.ok((exits['mmio'] ?? 0) < 10_000, `${exits['mmio']} of 60,000 accesses left the engine`);
    assert.ok((exits['call'] ?? 0) < 5_000, `${exits['call']} of 20,000 calls left the engine`);
    assert.equal(stats.promotion.calls + (exits['call'] ?? 0), 20_000);
  }
  assert.ok(auto.stats.promotion.promoted < 20, `${auto.stats.promotion.promoted} sites promoted`);
  assert.ok(always.stats.promotion.promoted >= 300, `${always.stats.promotion.promoted} sites promoted`);
  assert.ok(auto.stats.promotion.peakBytes * 4 < always.stats.promotion.peakBytes);
});

test('what cools down is demoted, and its bytes are given back; hot again, it is promoted again', async () => {
  const { stats } = await run({ heavy: 20_000, cool: 12_000_000 }, 'auto');
  const { promoted, demoted, bytes, peakBytes } = stats.promotion;
  assert.ok(promoted > 5 && demoted >= promoted, `${promoted} promoted, ${demoted} demoted`);
  assert.ok(bytes <= peakBytes / 10, `${bytes} of ${peakBytes} bytes`);
});
