import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leanModule } from './module-symbols.ts';

interface Symbol {
  name: string;
  info: number;
  value: number;
}
interface Section {
  name: string;
  type: number;
  link?: number;
  info?: number;
  align?: number;
  data: Buffer;
  /** Of sections without contents. */
  sizeBytes?: number;
}

const LOCAL = 0x00;
const FUNCTION = 0x02;
const GLOBAL = 0x10;
const MARK = '~Module signature appended~\n';

const symbols: readonly Symbol[] = [
  { name: '', info: LOCAL, value: 0 },
  { name: '.L0', info: LOCAL, value: 2 },
  { name: 'helper', info: FUNCTION, value: 4 },
  { name: '.L0', info: LOCAL, value: 6 },
  { name: '.LC1', info: LOCAL, value: 8 },
  { name: '$xrv64', info: LOCAL, value: 0 },
  { name: '.Lgroup', info: LOCAL, value: 10 },
  { name: 'printk', info: GLOBAL, value: 0 },
];

function symbolTable(): { table: Buffer; names: Buffer } {
  const names = [Buffer.from([0])];
  const table = Buffer.alloc(symbols.length * 24);
  let at = 1;
  for (const [i, { name, info, value }] of symbols.entries()) {
    if (name !== '') {
      table.writeUInt32LE(at, i * 24);
      names.push(Buffer.from(`${name}\0`));
      at += name.length + 1;
    }
    table[i * 24 + 4] = info;
    table.writeUInt16LE(1, i * 24 + 6);
    table.writeBigUInt64LE(BigInt(value), i * 24 + 8);
  }
  return { table, names: Buffer.concat(names) };
}

/** Relocations `[offset, symbol, type]`. */
function relocations(rows: readonly (readonly [number, number, number])[]): Buffer {
  const data = Buffer.alloc(rows.length * 24);
  for (const [i, [offset, symbol, type]] of rows.entries()) {
    data.writeBigUInt64LE(BigInt(offset), i * 24);
    data.writeUInt32LE(type, i * 24 + 8);
    data.writeUInt32LE(symbol, i * 24 + 12);
  }
  return data;
}

function module(): Buffer {
  const { table, names } = symbolTable();
  const sections: Section[] = [
    { name: '', type: 0, data: Buffer.alloc(0) },
    { name: '.text', type: 1, align: 4, data: Buffer.from('0123456789abcdef') },
    {
      name: '.rela.text',
      type: 4,
      link: 5,
      info: 1,
      align: 8,
      data: relocations([
        [0, 7, 19],
        [4, 3, 35],
        [8, 2, 18],
      ]),
    },
    { name: '.bss', type: 8, align: 64, data: Buffer.alloc(0), sizeBytes: 4096 },
    { name: '.group', type: 17, link: 5, info: 6, align: 4, data: Buffer.from([1, 0, 0, 0, 1, 0, 0, 0]) },
    { name: '.symtab', type: 2, link: 6, info: 7, align: 8, data: table },
    { name: '.strtab', type: 3, align: 1, data: names },
    { name: '.shstrtab', type: 3, align: 1, data: Buffer.alloc(0) },
  ];
  const texts = Buffer.from(sections.map(({ name }) => `${name}\0`).join(''));
  const last = sections[7];
  assert.ok(last);
  last.data = texts;
  const head = Buffer.alloc(64);
  head.write('\x7fELF\x02\x01\x01', 'latin1');
  head.writeUInt16LE(64, 0x3a);
  head.writeUInt16LE(sections.length, 0x3c);
  head.writeUInt16LE(7, 0x3e);
  const parts: Buffer[] = [head];
  let at = 64;
  const rows = sections.map((section) => {
    const { align = 1 } = section;
    const padding = (align - (at % align)) % align;
    const row = Buffer.alloc(64);
    row.writeUInt32LE(texts.indexOf(`${section.name}\0`), 0);
    row.writeUInt32LE(section.type, 4);
    row.writeBigUInt64LE(BigInt(at + padding), 0x18);
    row.writeBigUInt64LE(BigInt(section.sizeBytes ?? section.data.length), 0x20);
    row.writeUInt32LE(section.link ?? 0, 0x28);
    row.writeUInt32LE(section.info ?? 0, 0x2c);
    row.writeBigUInt64LE(BigInt(align), 0x30);
    parts.push(Buffer.alloc(padding), section.data);
    at += padding + section.data.length;
    return row;
  });
  parts.push(Buffer.alloc((8 - (at % 8)) % 8));
  head.writeBigUInt64LE(BigInt(at + ((8 - (at % 8)) % 8)), 0x28);
  return Buffer.concat([...parts, ...rows]);
}

function sectionsOf(bytes: Uint8Array): Map<string, { row: Buffer; data: Buffer }> {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const tableAt = Number(file.readBigUInt64LE(0x28));
  const count = file.readUInt16LE(0x3c);
  assert.equal(tableAt + count * 64, file.length);
  const rows = Array.from({ length: count }, (_, i) => file.subarray(tableAt + i * 64, tableAt + (i + 1) * 64));
  const dataOf = (row: Buffer): Buffer => {
    const from = Number(row.readBigUInt64LE(0x18));
    return row.readUInt32LE(4) === 8 ? Buffer.alloc(0) : file.subarray(from, from + Number(row.readBigUInt64LE(0x20)));
  };
  const last = rows[file.readUInt16LE(0x3e)];
  assert.ok(last);
  const texts = dataOf(last).toString('latin1');
  return new Map(
    rows.map((row) => {
      const nameAt = row.readUInt32LE(0);
      return [texts.slice(nameAt, texts.indexOf('\0', nameAt)), { row, data: dataOf(row) }];
    }),
  );
}

function symbolsOf(bytes: Uint8Array): Symbol[] {
  const sections = sectionsOf(bytes);
  const table = sections.get('.symtab')?.data ?? Buffer.alloc(0);
  const names = sections.get('.strtab')?.data.toString('latin1') ?? '';
  return Array.from({ length: table.length / 24 }, (_, i) => {
    const at = table.readUInt32LE(i * 24);
    return {
      name: names.slice(at, names.indexOf('\0', at)),
      info: table[i * 24 + 4] ?? 0,
      value: Number(table.readBigUInt64LE(i * 24 + 8)),
    };
  });
}

test('labels that nothing refers to go, all else stays', () => {
  const lean = leanModule(module(), 'x');
  const kept = symbols.filter(({ name, value }) => !(value === 2 || name === '.LC1'));
  assert.deepEqual(symbolsOf(lean), kept);
});

test('relocations and groups name the same symbols as before; the first global one is told', () => {
  const lean = leanModule(module(), 'x');
  const sections = sectionsOf(lean);
  const data = sections.get('.rela.text')?.data ?? Buffer.alloc(0);
  const after = symbolsOf(lean);
  const named = [0, 1, 2].map((i) => after[data.readUInt32LE(i * 24 + 12)]);
  assert.deepEqual(named, [symbols[7], symbols[3], symbols[2]]);
  assert.deepEqual(
    [0, 1, 2].map((i) => data.readUInt32LE(i * 24 + 8)),
    [19, 35, 18],
  );
  assert.deepEqual(after[sections.get('.group')?.row.readUInt32LE(0x2c) ?? 0], symbols[6]);
  const firstGlobal = sections.get('.symtab')?.row.readUInt32LE(0x2c);
  assert.equal(
    firstGlobal,
    after.findIndex(({ info }) => info === GLOBAL),
  );
});

test('contents, alignment and sizes without contents are as they were', () => {
  const before = sectionsOf(module());
  const lean = sectionsOf(leanModule(module(), 'x'));
  assert.deepEqual([...lean.keys()], [...before.keys()]);
  for (const name of ['.text', '.group', '.shstrtab']) assert.deepEqual(lean.get(name)?.data, before.get(name)?.data);
  assert.equal(lean.get('.bss')?.row.readBigUInt64LE(0x20), 4096n);
  for (const [name, { row }] of lean) {
    if (name === '') continue;
    assert.equal(row.readBigUInt64LE(0x18) % row.readBigUInt64LE(0x30), 0n, name);
  }
});

test('what is lean stays as it is', () => {
  const once = leanModule(module(), 'x');
  assert.deepEqual(Buffer.from(leanModule(once, 'x')), Buffer.from(once));
});

test('a signature goes: it would not hold', () => {
  const information = Buffer.alloc(12);
  information.writeUInt32BE(300, 8);
  const signed = Buffer.concat([module(), Buffer.alloc(300, 7), information, Buffer.from(MARK)]);
  assert.deepEqual(Buffer.from(leanModule(signed, 'x')), Buffer.from(leanModule(module(), 'x')));
  information.writeUInt32BE(0xffff_ffff, 8);
  const wild = Buffer.concat([module(), information, Buffer.from(MARK)]);
  assert.throws(() => leanModule(wild, 'x'), /not a whole ELF64 file/);
});

test('a damaged module is refused, wherever it is cut', () => {
  const file = module();
  for (let length = 0; length < file.length; length += 1)
    assert.throws(() => leanModule(file.subarray(0, length), 'x'), /not a whole ELF64 file/);
});

test('references to symbols that are not there are refused', () => {
  const file = module();
  const relocationsAt = Number(sectionsOf(file).get('.rela.text')?.row.readBigUInt64LE(0x18));
  file.writeUInt32LE(1000, relocationsAt + 12);
  assert.throws(() => leanModule(file, 'x'), /not a whole ELF64 file/);
});
