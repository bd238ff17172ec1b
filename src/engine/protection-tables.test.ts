/** Protection tables against a model of maps: what they allow, what they share, and that nothing is lost. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { must } from '../base/assert.ts';
import { MachineMemory } from './machine-memory.ts';
import { CHUNK_FRAMES, ProtectionTables } from './protection-tables.ts';
import { Random } from './random.testing.ts';

const plan = { frames: 3 * CHUNK_FRAMES + 100, tables: 12 };

function fresh(): { tables: ProtectionTables; twin: ProtectionTables; first: number } {
  const blockBytes = 2 * ProtectionTables.sizeBytes(plan) + 128;
  const memory = MachineMemory.create({
    width: 32,
    shared: false,
    blockBytes,
    codeBytes: 1 << 16,
    frames: plan.frames,
  });
  const make = (): ProtectionTables =>
    new ProtectionTables(memory, memory.block(ProtectionTables.sizeBytes(plan)), plan);
  return { tables: make(), twin: make(), first: memory.header.frameFirst };
}

describe('protection tables', () => {
  test('a new one allows nothing, to the last frame', () => {
    const { tables, first } = fresh();
    const table = tables.create();
    for (let frame = first; frame < first + plan.frames; frame++) assert.equal(tables.rights(table, frame), 0);
    assert.deepEqual(tables.usage.chunks, 0);
  });

  test('domains of equal content cost a byte for each frame, together', () => {
    const { tables, first } = fresh();
    const all = Array.from({ length: 11 }, () => tables.create());
    for (let frame = first; frame < first + plan.frames; frame++)
      tables.set(
        frame,
        all,
        all.map(() => 7),
      );
    assert.ok([4, 5].includes(tables.usage.chunks));
  });

  test('a right that one of them loses costs a chunk, and shared content is found again', () => {
    const { tables, first } = fresh();
    const all = Array.from({ length: 11 }, () => tables.create());
    const set = (frame: number, rights: number, own = rights): void =>
      tables.set(
        frame,
        all,
        all.map((_, i) => (i === 3 ? own : rights)),
      );
    for (let frame = first; frame < first + plan.frames; frame++) set(frame, 7);
    const { chunks } = tables.usage;
    set(first + 5, 7, 5);
    assert.equal(tables.usage.chunks, chunks + 1);
    assert.deepEqual(
      all.map((table) => tables.rights(table, first + 5)),
      all.map((_, i) => (i === 3 ? 5 : 7)),
    );
    set(first + 5, 7);
    tables.shareEqual(all, first + 5, first + 5);
    assert.equal(tables.usage.chunks, chunks);
  });

  test('random changes, copies and ends: as a model has it, and nothing is kept behind', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = new Random(seed);
      const { tables, first } = fresh();
      const model = new Map<number, Map<number, number>>();
      for (let step = 0; step < 400; step++) {
        const known = [...model.keys()];
        const isRoom = known.length < plan.tables;
        const dice = random.below(100);
        if (known.length === 0 || (isRoom && dice < 5)) model.set(tables.create(), new Map());
        else if (isRoom && dice < 10) {
          const from = must(known[random.below(known.length)]);
          model.set(tables.copy(from), new Map(model.get(from)));
        } else if (dice < 13) {
          const gone = must(known[random.below(known.length)]);
          tables.free(gone);
          model.delete(gone);
        } else if (dice < 23) tables.shareEqual(known, first, first + plan.frames - 1);
        else {
          const frame = first + random.below(4) * (CHUNK_FRAMES - 1) + random.below(3);
          const some = known.filter(() => random.chance(0.6));
          const rights = some.map(() => random.below(random.chance(0.5) ? 2 : 8));
          tables.set(frame, some, rights);
          some.forEach((table, i) => model.get(table)?.set(frame, must(rights[i])));
        }
        for (const [table, rights] of model)
          for (const [frame, right] of rights)
            assert.equal(tables.rights(table, frame), right, `seed ${seed}, ${step}`);
      }
      for (const table of model.keys()) tables.free(table);
      assert.deepEqual(tables.usage, { tables: 0, chunks: 0, bytes: 0 });
    }
  });

  test("a twin's are the same, and go their own way from then on", () => {
    const { tables, twin, first } = fresh();
    const random = new Random(7);
    const all = Array.from({ length: 6 }, () => tables.create());
    const own = Array.from({ length: 6 }, () => twin.create());
    const frames = Array.from({ length: 60 }, () => first + random.below(plan.frames));
    const change = (of: ProtectionTables, list: readonly number[], count: number): void => {
      for (let i = 0; i < count; i++) {
        const frame = must(frames[random.below(frames.length)]);
        const rights = random.below(8);
        of.set(
          frame,
          list,
          list.map(() => (random.chance(0.7) ? rights : random.below(8))),
        );
      }
    };
    const look = (of: ProtectionTables, list: readonly number[]): number[][] =>
      list.map((table) => frames.map((frame) => of.rights(table, frame)));
    change(tables, all, 300);
    // With tables and chunks that were given back.
    for (const gone of all.splice(4)) tables.free(gone);
    own.splice(4);
    tables.shareEqual(all, first, first + plan.frames - 1);
    twin.copyFrom(tables);
    assert.deepEqual(look(twin, own), look(tables, all));
    assert.deepEqual(twin.usage, tables.usage);
    const before = look(tables, all);
    change(twin, [...own, twin.create(), twin.create()], 300);
    assert.deepEqual(look(tables, all), before);
    const after = look(twin, own);
    change(tables, [...all, tables.create(), tables.create()], 300);
    assert.deepEqual(look(twin, own), after);
  });
});
