/** Snapshots whose contents somebody has changed, with right checksums: see fuzz.testing.ts. `FUZZ=n` for more of them. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { OperatorError } from '../../base/errors.ts';
import { Random } from '../../machine/machine.testing.ts';
import { createMachine, restoreMachine } from '../machine/index.ts';
import { mutateFile, readChunks, writeChunks } from './fuzz.testing.ts';
import { raceMachine } from './snapshot.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-snapshot-fuzz-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** What is found out while the file is read, or by whoever makes such a machine. */
const REFUSALS = /^(snapshot-|bad-|memory-|unknown-|disk-|too-many-|port-|address-)/;

test('a changed snapshot is refused, or becomes a machine that harms nobody', async () => {
  const file = join(folder, 'sound.kage');
  const options = { ...raceMachine(join(folder, 'race.bin')), network: true, startPaused: true };
  const machine = await createMachine(options);
  const rules = { domains: ['user', 'device:net0'], start: 0x8050_0000, end: 0x8060_0000, rights: 'rw' };
  await machine.protect({ action: 'deny', ...rules });
  await machine.snapshot(file, { stop: true });
  const bad = join(folder, 'bad.kage');
  writeChunks(bad, readChunks(file));
  const same = await restoreMachine(bad);
  assert.deepEqual(await same.exited, { reason: 'poweroff', code: 0 }, 'unchanged, it is what it was');

  const rounds = Number(process.env['FUZZ'] ?? 60);
  const random = new Random(Number(process.env['SEED'] ?? 1));
  const counts = { refused: 0, ran: 0 };
  for (let round = 0; round < rounds; round++) {
    const change = mutateFile(file, bad, (limit) => random.below(limit));
    try {
      const restored = await restoreMachine(bad);
      await Promise.race([restored.exited, new Promise((resolve) => setTimeout(resolve, 20))]);
      const { reason, message } = await restored.kill();
      assert.notEqual(reason, 'error', `round ${round}, ${change}: ${message}`);
      counts.ran++;
    } catch (error) {
      const stack = error instanceof Error ? error.stack : String(error);
      assert.ok(error instanceof OperatorError, `round ${round}, ${change}: ${stack}`);
      assert.match(error.code, REFUSALS, `round ${round}, ${change}`);
      counts.refused++;
    }
  }
  assert.ok(counts.refused > 0 && counts.ran > 0, JSON.stringify(counts));
});
