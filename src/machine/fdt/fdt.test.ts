import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { requires } from '../../../test/capability.ts';
import { AssertionError } from '../../base/assert.ts';
import { OperatorError } from '../../base/errors.ts';
import { Random } from '../machine.testing.ts';
import {
  cells,
  deviceTreeSource,
  node,
  nodeAt,
  readCells,
  readDeviceTree,
  readStrings,
  type TreeNode,
  two,
  u64,
  virtDeviceTree,
  withProperties,
  writeDeviceTree,
} from './index.ts';

const small = node('', { '#address-cells': 2, model: 'toy', empty: true }, [
  node('bus@1000', { reg: [...two(0x1_2345_6789), 8], names: ['a', 'bc'], raw: Uint8Array.of(1, 2, 3) }, [
    node('leaf', {}),
  ]),
  node('chosen', { absent: undefined, model: 'again', big: u64(0x1f_ffff_ffff_ffff) }),
]);

test('a written tree reads back as it was, and says so in source', () => {
  const bytes = writeDeviceTree(small, [{ address: 0x8000_0000, sizeBytes: 0x1000 }]);
  assert.deepEqual(readDeviceTree(bytes), small);
  assert.equal(
    deviceTreeSource(small),
    `/dts-v1/;

/ {
	#address-cells = <0x2>;
	model = "toy";
	empty;

	bus@1000 {
		reg = <0x1 0x23456789 0x8>;
		names = "a", "bc";
		raw = [01 02 03];

		leaf {
		};
	};

	chosen {
		model = "again";
		big = <0x1fffff 0xffffffff>;
	};
};
`,
  );
});

test('values are copies, of a Node Buffer too', () => {
  const bytes = Buffer.from(writeDeviceTree(small));
  const tree = readDeviceTree(bytes);
  bytes.fill(0);
  assert.deepEqual(tree, small);
});

test('the header says what the specification asks', () => {
  const bytes = writeDeviceTree(small, [{ address: 0x1_0000_0000, sizeBytes: 16 }]);
  const field = (index: number) => new DataView(bytes.buffer).getUint32(index * 4);
  assert.deepEqual([field(0), field(1), field(5), field(6), field(7)], [0xd00dfeed, bytes.length, 17, 16, 0]);
  assert.equal(field(4) % 8, 0, 'reservations are aligned to 8');
  assert.deepEqual([field(10), field(11), field(12), field(13)], [1, 0, 0, 16]);
  assert.equal(field(2) + field(9), field(3), 'strings follow the structure');
  assert.equal(bytes.length % 8, 0);
  const strings = new TextDecoder().decode(bytes.subarray(field(3), field(3) + field(8)));
  assert.equal(strings.split('model\0').length, 2, 'a name is stored once');
});

test('random trees survive the round trip', () => {
  const random = new Random(11);
  const letters = 'abcdefghij,-#@0123';
  const name = () => Array.from({ length: 1 + random.below(12) }, () => letters[random.below(letters.length)]).join('');
  const make = (depth: number): TreeNode => ({
    name: depth === 0 ? '' : name(),
    properties: new Map(
      Array.from({ length: random.below(6) }, () => [
        name(),
        Uint8Array.from({ length: random.below(20) }, () => random.next()),
      ]),
    ),
    children: depth > 5 ? [] : Array.from({ length: random.below(4) }, () => make(depth + 1)),
  });
  for (let i = 0; i < 50; i++) {
    const tree = make(0);
    assert.deepEqual(readDeviceTree(writeDeviceTree(tree)), tree);
  }
});

test('values that do not fit are bugs', () => {
  assert.throws(() => cells([-1]), AssertionError);
  assert.throws(() => cells([2 ** 32]), AssertionError);
  assert.throws(() => two(2 ** 53), AssertionError);
  assert.throws(() => writeDeviceTree(node('x', {})), AssertionError);
});

test('values read back only as what they are', () => {
  assert.deepEqual(readCells(cells([1, 0xffff_ffff])), [1, 0xffff_ffff]);
  assert.equal(readCells(Uint8Array.of(1, 2, 3)), undefined);
  assert.equal(readStrings(cells([0x0038_4000])), undefined, 'a clock of 3.6864 MHz is no text');
  assert.equal(readStrings(Uint8Array.of(0x61, 0, 0)), undefined);
  assert.equal(nodeAt(small, '/bus@1000/leaf')?.name, 'leaf');
  assert.equal(nodeAt(small, '/bus@1000/twig'), undefined);
});

type Harm = (bytes: Uint8Array, data: DataView) => Uint8Array;

test('properties go into a node that is there or is made for them', () => {
  const changed = withProperties(small, '/chosen', { model: 'new', bootargs: 'quiet', big: undefined });
  const chosen = nodeAt(changed, '/chosen');
  assert.deepEqual(readStrings(chosen?.properties.get('model')), ['new']);
  assert.deepEqual(readStrings(chosen?.properties.get('bootargs')), ['quiet']);
  assert.equal(chosen?.properties.get('big')?.length, 8, 'what is not given stays');
  assert.deepEqual(nodeAt(changed, '/bus@1000'), nodeAt(small, '/bus@1000'));
  const made = withProperties(small, '/a/b', { x: 1 });
  assert.deepEqual(readCells(nodeAt(made, '/a/b')?.properties.get('x')), [1]);
  assert.equal(nodeAt(small, '/a'), undefined, 'the tree given is not touched');
});

/** Overwrites a word of the header, or the structure's word at `cell`. */
const header = (at: number, value: number | ((old: number) => number)): Harm => {
  return (bytes, data) => {
    data.setUint32(at, typeof value === 'number' ? value : value(data.getUint32(at)));
    return bytes;
  };
};
const structure = (cell: number, value: number): Harm => {
  return (bytes, data) => {
    data.setUint32(data.getUint32(8) + cell * 4, value);
    return bytes;
  };
};

/** Each breaks one thing in a good tree. */
const broken: readonly [name: string, says: RegExp, harm: Harm][] = [
  ['empty', /shorter than a header/, () => new Uint8Array(0)],
  ['not a tree', /magic/, (bytes) => bytes.fill(0x20)],
  ['cut off', /cut off: 100 of/, (bytes) => bytes.subarray(0, 100)],
  ['old version', /version 3/, header(20, 3)],
  ['newer than known', /version/, header(24, 18)],
  ['structure outside', /structure lies outside/, header(36, 0xffff_fff0)],
  ['structure in the header', /structure lies outside/, header(8, 0)],
  ['structure misaligned', /misaligned/, header(8, (at) => at + 2)],
  ['strings outside', /strings lie outside/, header(32, 0xffff_ffff)],
  ['property beyond the end', /a property is cut off/, structure(3, 0x7fff_ffff)],
  ['name beyond the strings', /name/, structure(4, 0xffff)],
  ['unknown token', /no token 7/, structure(0, 7)],
  ['end at once', /ends within/, structure(0, 9)],
  ['end of nothing', /has not begun/, structure(0, 2)],
  ['property of nothing', /outside every node/, structure(0, 3)],
];
for (const [name, says, harm] of broken) {
  test(`a broken tree is refused: ${name}`, () => {
    const bytes = writeDeviceTree(small);
    const damaged = harm(bytes, new DataView(bytes.buffer));
    assert.throws(
      () => readDeviceTree(damaged),
      (error) => error instanceof OperatorError && error.code === 'device-tree-invalid' && says.test(error.message),
    );
  });
}

test('a tree that only goes deeper is refused', () => {
  let deep = node('n', {});
  for (let i = 0; i < 70; i++) deep = node(i === 69 ? '' : 'n', {}, [deep]);
  assert.throws(() => readDeviceTree(writeDeviceTree(deep)), /more than 64 deep/);
});

test('fuzz: whatever the bytes, the reader returns a tree or an operator error', () => {
  const good = virtDeviceTree({
    harts: 2,
    memoryBytes: 2 ** 28,
    extensions: new Set(['i', 'm']),
    mmuType: 'sv39',
    startsIn: 'S',
  });
  const random = new Random(23);
  let read = 0;
  for (let i = 0; i < 4000; i++) {
    const bytes = random.below(4) === 0 ? good.slice(0, random.below(good.length)) : good.slice();
    for (let hits = 1 + random.below(8); hits > 0 && bytes.length > 0; hits--) {
      // Half of the damage goes to the header, where it does the most.
      const at = random.below(2) === 0 ? random.below(Math.min(40, bytes.length)) : random.below(bytes.length);
      bytes[at] = random.pick([0, 1, 2, 3, 9, 0x7f, 0x80, 0xff, random.next() & 0xff]);
    }
    try {
      readDeviceTree(bytes);
      read++;
    } catch (error) {
      assert.ok(error instanceof OperatorError, String(error));
    }
  }
  assert.ok(read > 0 && read < 4000, `${read} of 4000 were read`);
});

test('dtc reads what we write, and our source makes the same tree', requires('dtc'), () => {
  const bytes = virtDeviceTree({
    harts: 3,
    memoryBytes: 5 * 2 ** 30,
    extensions: new Set(['i', 'm', 'a', 'f', 'd', 'c', 'zicbom']),
    mmuType: 'sv57',
    startsIn: 'M',
    bootargs: 'console="ttyS0" \\',
    pcie: true,
  });
  const dtc = (from: string, to: string, input: Uint8Array | string) =>
    spawnSync('dtc', ['-I', from, '-O', to], { input, timeout: 20_000 });
  const shown = dtc('dtb', 'dts', bytes);
  assert.equal(shown.status, 0);
  assert.equal(shown.stderr.toString(), '', 'no warnings');
  const compiled = dtc('dts', 'dtb', deviceTreeSource(readDeviceTree(bytes)));
  assert.equal(compiled.status, 0, compiled.stderr.toString());
  assert.deepEqual(readDeviceTree(compiled.stdout), readDeviceTree(bytes));
});
