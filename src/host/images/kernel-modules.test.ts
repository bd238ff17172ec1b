import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { collectModules, moduleInformation, modulesAlias, modulesDep } from './kernel-modules.ts';

/** A little ELF64 file with the sections .modinfo and .shstrtab. */
function elf(information: readonly string[]): Buffer {
  const modinfo = Buffer.from(information.map((entry) => `${entry}\0`).join(''));
  const names = Buffer.from('\0.modinfo\0.shstrtab\0');
  const head = Buffer.alloc(64);
  head.write('\x7fELF\x02\x01\x01', 'latin1');
  const tableAt = 64 + modinfo.length + names.length;
  head.writeBigUInt64LE(BigInt(tableAt), 0x28);
  head.writeUInt16LE(64, 0x3a);
  head.writeUInt16LE(3, 0x3c);
  head.writeUInt16LE(2, 0x3e);
  const row = (name: number, at: number, size: number): Buffer => {
    const bytes = Buffer.alloc(64);
    bytes.writeUInt32LE(name, 0);
    bytes.writeBigUInt64LE(BigInt(at), 0x18);
    bytes.writeBigUInt64LE(BigInt(size), 0x20);
    return bytes;
  };
  return Buffer.concat([
    head,
    modinfo,
    names,
    row(0, 0, 0),
    row(1, 64, modinfo.length),
    row(10, 64 + modinfo.length, names.length),
  ]);
}

test('a module tells its name, dependencies and aliases', () => {
  const file = elf(['license=GPL', 'depends=a,b', 'alias=fs-x', 'parm=empty=']);
  assert.deepEqual(moduleInformation(file, 'x'), [
    ['license', 'GPL'],
    ['depends', 'a,b'],
    ['alias', 'fs-x'],
    ['parm', 'empty='],
  ]);
});

test('a damaged module is refused, wherever it is cut', () => {
  const file = elf(['depends=a']);
  for (let length = 0; length < file.length; length += 1) {
    assert.throws(() => moduleInformation(file.subarray(0, length), 'x'), /not a whole ELF64 file/);
  }
  const wild = Buffer.from(file);
  wild.writeBigUInt64LE(0xffff_ffff_ffff_fff0n, 0x28);
  assert.throws(() => moduleInformation(wild, 'x'), /not a whole ELF64 file/);
});

test('dependencies come with and before what needs them; built-in ones do not; cycles end', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'kagemusha-modules-'));
  try {
    mkdirSync(join(folder, 'kernel/drivers'), { recursive: true });
    const put = (name: string, information: string[]): void =>
      writeFileSync(join(folder, 'kernel/drivers', name), elf(information));
    writeFileSync(join(folder, 'modules.builtin'), 'kernel/core/built-in.ko\n');
    put('top-one.ko', ['depends=middle,built_in', 'softdep=pre: soft-one alias-only post: later', 'alias=fs-top']);
    writeFileSync(join(folder, 'kernel/drivers/middle.ko.gz'), gzipSync(elf(['depends=bottom'])));
    put('bottom.ko', ['depends=middle']);
    put('soft_one.ko', ['depends=', 'alias=pci:v*']);
    put('later.ko', ['depends=']);
    const { modules, lacking } = await collectModules(folder, ['top_one', 'built-in', 'no-such']);
    assert.deepEqual(
      modules.map(({ name }) => name),
      ['bottom', 'middle', 'soft_one', 'top_one'],
    );
    assert.deepEqual(lacking, ['no_such']);
    assert.match(
      modulesDep(modules),
      /^kernel\/drivers\/top-one\.ko: kernel\/drivers\/middle\.ko kernel\/drivers\/bottom\.ko$/m,
    );
    assert.equal(modulesAlias(modules), 'alias pci:v* soft_one\nalias fs-top top_one\n');
  } finally {
    rmSync(folder, { recursive: true });
  }
});
