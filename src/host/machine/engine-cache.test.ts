import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, describe, test } from 'node:test';
import { generateEngine, PLAN } from '../../engine/index.ts';
import { parseCpu } from '../../isa/index.ts';
import { type EngineWish, type ReadyEngine, readyEngine } from './engine-cache.ts';

const root = mkdtempSync(join(tmpdir(), 'kage-engines-'));
after(() => rmSync(root, { recursive: true, force: true }));
let folder = '';
let folders = 0;
beforeEach(() => {
  folder = join(root, `${folders++}`, 'engines');
});

const description = { width: 32, shared: true, initialPages: 100, maximumPages: 100 } as const;
const wish: EngineWish = { description, extensions: parseCpu('rv64'), emulated: new Set(), policies: [] };

function contents(engine: ReadyEngine): { bytes: Uint8Array; tables: Uint8Array; signatures: unknown } {
  const tables = new Uint8Array(PLAN.frameTable);
  engine.writeTables(tables.buffer);
  return { bytes: engine.bytes, tables, signatures: [...engine.signatures] };
}

describe('engines that are kept', () => {
  test('are what generating gives', () => {
    const { bytes, tables, signatures } = generateEngine(description, wish.extensions);
    const memory = new Uint8Array(PLAN.frameTable);
    tables.write(memory.buffer);
    const made = readyEngine(wish, folder, 'a');
    assert.equal(readdirSync(folder).length, 1);
    for (const engine of [made, readyEngine(wish, folder, 'a')])
      assert.deepEqual(contents(engine), { bytes, tables: memory, signatures: [...signatures] });
    assert.equal(readdirSync(folder).length, 1);
  });

  test('are read, not made again', () => {
    readyEngine(wish, folder, 'a');
    // Another module under the same name, whole by its digest: nobody else would give it.
    const [name = ''] = readdirSync(folder);
    const other = { ...wish, extensions: parseCpu('rv64,zba=off') };
    readyEngine(other, join(root, 'other'), 'a');
    const [theirs = ''] = readdirSync(join(root, 'other'));
    writeFileSync(join(folder, name), readFileSync(join(root, 'other', theirs)));
    assert.deepEqual(readyEngine(wish, folder, 'a').bytes, generateEngine(description, other.extensions).bytes);
  });

  test('are for one build, one memory, one set of extensions', () => {
    readyEngine(wish, folder, 'a');
    readyEngine(wish, folder, 'b');
    readyEngine({ ...wish, description: { ...description, initialPages: 99 } }, folder, 'a');
    readyEngine({ ...wish, extensions: parseCpu('rv64,zba=off') }, folder, 'a');
    readyEngine({ ...wish, extensions: parseCpu('rv64,zba=off'), emulated: new Set(['zba']) }, folder, 'a');
    assert.equal(readdirSync(folder).length, 5);
  });

  test('are made anew where the file is damaged, cut short or no file', () => {
    const right = contents(readyEngine(wish, folder, 'a'));
    const path = join(folder, readdirSync(folder)[0] ?? '');
    const file = readFileSync(path);
    const bent = Buffer.from(file);
    bent[5000] = (bent[5000] ?? 0) ^ 1;
    for (const damage of [bent, file.subarray(0, 1000), Buffer.alloc(0)]) {
      writeFileSync(path, damage);
      assert.deepEqual(contents(readyEngine(wish, folder, 'a')), right);
      assert.deepEqual(readFileSync(path), file, 'and is whole again');
    }
  });

  test('are few', () => {
    for (let i = 0; i < 10; i++) readyEngine(wish, folder, `build ${i}`);
    assert.equal(readdirSync(folder).length, 8);
  });

  test('are not kept from sources, with policies, or where nothing can be written', () => {
    readyEngine(wish, folder, undefined);
    const policies = [{ row: 'mul' }];
    const trapped = contents(readyEngine({ ...wish, policies }, folder, 'a'));
    assert.throws(() => readdirSync(folder), { code: 'ENOENT' });
    assert.notDeepEqual(trapped.tables, contents(readyEngine(wish, folder, undefined)).tables);
    writeFileSync(join(root, 'file'), '');
    assert.ok(readyEngine(wish, join(root, 'file', 'below'), 'a').bytes.length > 0);
  });
});
