import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperatorError } from '../base/errors.ts';
import {
  DEFAULT_EXTENSIONS,
  EMULATED_EXTENSIONS,
  EXTENSIONS,
  featuresOf,
  isaString,
  parseCpu,
  parseCpuModel,
} from './extensions.ts';
import { FEATURE } from './state.ts';
import { COMPRESSED_ROWS, ROWS } from './table.ts';

test('every extension that a row names exists', () => {
  const known = new Set(EXTENSIONS.map(({ name }) => name));
  for (const { name, extension } of [...ROWS, ...COMPRESSED_ROWS]) {
    for (const part of extension.split('+')) assert.ok(known.has(part), `${name}: ${part}`);
  }
});

test('the default hart has what the platform promises', () => {
  const promised =
    'i m a f d c s u zicsr zifencei zicntr zihpm zba zbb zbc zbs zicond zfa zfh zicbom zicbop zicboz zawrs ' +
    'zihintpause zimop zcb sv39 sv48 sv57 svade svadu svinval svnapot svpbmt sstc smepmp';
  for (const name of promised.split(' ')) assert.ok(DEFAULT_EXTENSIONS.has(name), name);
  assert.deepEqual(parseCpu('rv64'), DEFAULT_EXTENSIONS);
});

test('the ISA string is in canonical order', () => {
  assert.equal(
    isaString(DEFAULT_EXTENSIONS),
    'rv64imafdc_zicbom_zicbop_zicboz_zicntr_zicond_zicsr_zifencei_zihintpause_zihpm_zimop_zmmul_zaamo_zalrsc' +
      '_zawrs_zfa_zfh_zfhmin_zca_zcb_zcd_zcmop_zba_zbb_zbc_zbs_smepmp_sstc_svade_svadu_svinval_svnapot_svpbmt',
  );
  assert.equal(isaString(parseCpu('rv64i,s=on,h=true,smstateen=on')), 'rv64ih_zicsr_smstateen');
  assert.equal(isaString(parseCpu('rv64i,g=on')), 'rv64imafd_zicsr_zifencei_zmmul_zaamo_zalrsc');
  assert.equal(isaString(parseCpu('rv64i,c=on')), 'rv64ic_zicsr_zca');
  assert.equal(isaString(new Set([...DEFAULT_EXTENSIONS].reverse())), isaString(DEFAULT_EXTENSIONS));
});

const switched: readonly [string, on: string, off: string][] = [
  ['rv64,zba=off', 'zbb zbc', 'zba'],
  ['rv64,c=off', 'm zimop', 'c zcb zcmop'],
  ['rv64,f=off', 'm a zicsr', 'f d zfh zfhmin zfa'],
  ['rv64,zfh=off', 'f d zfa', 'zfh zfhmin'],
  ['rv64,zfh=off,zfhmin=on', 'zfhmin', 'zfh'],
  ['rv64,b=off', 'zbc', 'zba zbb zbs b'],
  ['rv64,s=off', 'u i', 's sv39 sv48 sv57 svadu svade sstc svinval'],
  ['rv64,sv48=off', 'sv39', 'sv48 sv57'],
  ['rv64i', 'i zicsr u', 'm a f d c s zba'],
  ['rv64i,d=on', 'd f zicsr', 'm zfh'],
  ['RV64, SVADU=OFF', 'svade', 'svadu'],
  ['rv64,zba=off,zba=on', 'zba', ''],
];
for (const [text, on, off] of switched) {
  test(`${text} switches`, () => {
    const extensions = parseCpu(text);
    for (const name of on.split(' ')) assert.ok(extensions.has(name), `${name} is on`);
    for (const name of off.split(' ')) assert.ok(!extensions.has(name), `${name} is off`);
  });
}

const emulations: readonly [string, emulated: string][] = [
  ['rv64', ''],
  ['rv64,zba=emulate', 'zba'],
  ['rv64,b=emulate', 'zba zbb zbs'],
  ['rv64,b=emulate,zbb=on', 'zba zbs'],
  ['rv64,b=emulate,zbb=off', 'zba zbs'],
  ['rv64,zba=off,zbb=emulate', 'zbb'],
  ['rv64,zfh=emulate', 'zfh zfhmin'],
  ['rv64i,m=emulate', 'm'],
  ['rv64i,zba=emulate,zba=on', ''],
];
for (const [text, emulated] of emulations) {
  test(`${text} emulates ${emulated || 'nothing'}, and the guest is told so of none`, () => {
    const model = parseCpuModel(text);
    assert.deepEqual([...model.emulated].sort(), emulated.split(' ').filter(Boolean).sort());
    for (const name of model.emulated) assert.ok(!model.extensions.has(name), name);
    assert.equal(isaString(model.extensions), isaString(parseCpu(text.replaceAll('emulate', 'off'))));
  });
}

test('what can be emulated exists, and every one of its rows can', () => {
  const known = new Set(EXTENSIONS.map(({ name }) => name));
  for (const name of EMULATED_EXTENSIONS) assert.ok(known.has(name), name);
  for (const { name, extension, kind } of ROWS) {
    if (!extension.split('+').some((part) => EMULATED_EXTENSIONS.has(part))) continue;
    assert.ok(kind === 'alu' || kind === 'float' || kind === 'load' || kind === 'store' || kind === 'hint', name);
  }
});

const refused: readonly [string, code: string][] = [
  ['', 'unknown-cpu'],
  ['host', 'unknown-cpu'],
  ['__proto__', 'unknown-cpu'],
  ['rv64,zbx=on', 'unknown-extension'],
  ['rv64,', 'unknown-extension'],
  ['rv64,zba', 'bad-extension-switch'],
  ['rv64,zba=maybe', 'bad-extension-switch'],
  ['rv64,s=emulate', 'cannot-emulate'],
  ['rv64,c=emulate', 'cannot-emulate'],
  ['rv64i,zcb=emulate', 'cpu-conflict'],
  ['rv64,i=off', 'cpu-conflict'],
  ['rv64,u=off', 'cpu-conflict'],
  ['rv64,d=on,f=off', 'cpu-conflict'],
  ['rv64,f=off,zfa=on', 'cpu-conflict'],
];
for (const [text, code] of refused) {
  test(`'${text}' is refused as ${code}`, () => {
    assert.throws(
      () => parseCpu(text),
      (error: unknown) => error instanceof OperatorError && error.code === code && error.fix !== '',
    );
  });
}

test('features follow the extensions', () => {
  assert.equal(featuresOf(parseCpu('rv64i')), 0n);
  assert.equal(featuresOf(parseCpu('rv64i,f=on,zicboz=on')), FEATURE.float | FEATURE.cbo);
  assert.equal(featuresOf(DEFAULT_EXTENSIONS) & FEATURE.sbi, 0n);
  const everything = Object.values(FEATURE).reduce((all, bit) => all | bit, 0n);
  assert.equal(featuresOf(DEFAULT_EXTENSIONS) & (FEATURE.h | FEATURE.smstateen), 0n);
  assert.equal(featuresOf(parseCpu('rv64,h=true,smstateen=on')) | FEATURE.sbi, everything);
});
