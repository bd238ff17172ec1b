import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperatorError } from '../base/errors.ts';
import { canonicalExtensions, DEFAULT_EXTENSIONS, isaString } from './isa-string.ts';

test('canonical order: letters, Z by category, S, X; what is implied is named', () => {
  const mixed = ['svinval', 'zba', 'c', 'xthead', 'zicsr', 'd', 'sstc', 'f', 'zawrs', 'a', 'm', 'i', 'zfa', 'h', 'zbs'];
  assert.equal(isaString(mixed), 'rv64imafdch_zicsr_zmmul_zaamo_zalrsc_zawrs_zfa_zca_zcd_zba_zbs_sstc_svinval_xthead');
});

test('the default CPU', () => {
  assert.equal(
    isaString(DEFAULT_EXTENSIONS),
    'rv64imafdc_zicbom_zicbop_zicboz_zicntr_zicond_zicsr_zifencei_zihintpause_zihpm_zimop_zmmul_zaamo_zalrsc_zawrs' +
      '_zfa_zfh_zfhmin_zca_zcb_zcd_zba_zbb_zbc_zbs_smepmp_sstc_svadu_svinval_svnapot_svpbmt',
  );
});

test('order and repetition of the set do not matter; without d there is no zcd', () => {
  assert.deepEqual(canonicalExtensions(['c', 'i', 'i', 'zcb']), ['i', 'c', 'zca', 'zcb']);
  assert.equal(isaString([...DEFAULT_EXTENSIONS].reverse()), isaString(DEFAULT_EXTENSIONS));
});

test('a Z name of no known category comes after the others', () => {
  assert.equal(isaString(['i', 'zxfoo', 'zba', 'sstc']), 'rv64i_zba_zxfoo_sstc');
});

test('names that cannot be extensions are refused', () => {
  for (const bad of [['i', 'Zba'], ['i', ''], ['i', 'y'], ['i', 'zba_zbb'], ['i', 'rv64'], ['m']]) {
    assert.throws(
      () => isaString(bad),
      (error) => error instanceof OperatorError && error.code === 'unknown-extension',
    );
  }
});
