import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperatorError } from '../base/errors.ts';
import { FEATURE } from '../isa/index.ts';
import { type BoardOptions, boardConfig, extensionsOf, partitionConfig } from './board-config.ts';

test('there are as many processors as harts, but no more than the host can run', () => {
  for (const [cpus, parallelism, expected] of [
    [1, 8, 1],
    [4, 8, 4],
    [4, 2, 2],
    [16, 0, 1],
  ] as const)
    assert.equal(boardConfig({ cpus }, true, parallelism).processors, expected);
  assert.equal(boardConfig({ cpus: 2, processors: 5 }, true, 1).processors, 5);
  assert.equal(boardConfig({ clock: 'instructions' }).processors, 0);
  assert.equal(boardConfig({}, false).processors, 0);
});

test('an IMSIC brings its extensions, and partitions of a machine may differ in it', () => {
  const imsic = boardConfig({ aia: 'aplic-imsic', aiaGuests: 7 });
  const plic = boardConfig({});
  const both = FEATURE.smaia | FEATURE.ssaia;
  assert.deepEqual([imsic.features & both, imsic.aiaGuests, plic.features & both], [both, 7, 0n]);
  assert.equal(boardConfig({ aia: 'aplic' }).features & both, 0n, 'direct delivery has none');
  assert.ok(extensionsOf({ aia: 'aplic-imsic' }).has('ssaia'));
  assert.deepEqual(
    [...extensionsOf({ aia: 'aplic-imsic', cpu: 'rv64i' })].includes('ssaia'),
    false,
    'no supervisor mode',
  );
  assert.equal(partitionConfig({ aia: 'aplic-imsic' }, plic).features & both, both);
  assert.equal(partitionConfig({}, imsic).features & both, 0n);
});

test('a claim on processors becomes a share', () => {
  assert.deepEqual(boardConfig({ cpus: 4, weight: 7, cap: 1.5, pin: [0, 3] }).share, { weight: 7, cap: 1.5, pins: 9 });
  assert.deepEqual(boardConfig({ processors: 32, pin: [31] }).share, { pins: 0x8000_0000 });
  assert.deepEqual(boardConfig({}).share, {});
});

test('claims that cannot be are refused', () => {
  const cases: readonly [BoardOptions, code: string][] = [
    [{ processors: 0 }, 'bad-processors'],
    [{ processors: 1.5 }, 'bad-processors'],
    [{ weight: 1 }, 'bad-weight'],
    [{ weight: Number.NaN }, 'bad-weight'],
    [{ cap: 0 }, 'bad-cap'],
    [{ cap: Number.NaN }, 'bad-cap'],
    [{ pin: [] }, 'bad-pin'],
    [{ cpus: 2, pin: [2] }, 'bad-pin'],
    [{ pin: [-1] }, 'bad-pin'],
    [{ clock: 'instructions', cap: 1 }, 'no-processors'],
    [{ clock: 'instructions', processors: 2 }, 'no-processors'],
    [{ interruptRate: 99 }, 'bad-interrupt-rate'],
    [{ interruptRate: 0.5 }, 'bad-interrupt-rate'],
    [{ aiaGuests: 1 }, 'bad-aia-guests'],
    [{ aia: 'aplic', aiaGuests: 1 }, 'bad-aia-guests'],
    [{ aia: 'aplic-imsic', aiaGuests: 8 }, 'bad-aia-guests'],
  ];
  for (const [options, code] of cases)
    assert.throws(
      () => boardConfig(options),
      (error) => error instanceof OperatorError && error.code === code,
    );
});
