import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { requires } from '../../../test/capability.ts';
import { programPath } from '../../../test/toolbox.ts';
import { must } from '../../base/assert.ts';
import { DEFAULT_EXTENSIONS } from '../../isa/index.ts';
import { matchesGolden } from '../machine.testing.ts';
import {
  deviceTreeSource,
  nodeAt,
  readCells,
  readDeviceTree,
  readStrings,
  type TreeNode,
  type VirtDescription,
  virtDeviceTree,
  virtTree,
} from './index.ts';

const plain: VirtDescription = {
  harts: 2,
  memoryBytes: 512 * 2 ** 20,
  extensions: DEFAULT_EXTENSIONS,
  mmuType: 'sv57',
  startsIn: 'S',
};
const full: VirtDescription = {
  ...plain,
  startsIn: 'M',
  pcie: true,
  bootargs: 'console=ttyS0 root=/dev/vda',
  initrd: { start: 0x9020_0000, end: 0x9024_93e0 },
  rngSeed: Uint8Array.from({ length: 32 }, (_, i) => i * 7 + 1),
};

test('golden: two harts under the built-in SBI', () => {
  matchesGolden(deviceTreeSource(virtTree(plain)), new URL('./virt-supervisor.golden.dts', import.meta.url));
});

test('golden: two harts under firmware, with everything', () => {
  matchesGolden(deviceTreeSource(virtTree(full)), new URL('./virt-firmware.golden.dts', import.meta.url));
});

test('the flattened tree is the tree; its size does not depend on where the initrd lies', () => {
  assert.deepEqual(readDeviceTree(virtDeviceTree(full)), virtTree(full));
  const moved = virtDeviceTree({ ...full, initrd: { start: 0x8_0000_0000, end: 0x8_0000_0001 } });
  assert.equal(moved.length, virtDeviceTree(full).length);
});

test('every phandle is unique, and every reference to one finds its node', () => {
  for (const harts of [1, 5, 32]) {
    const root = virtTree({ ...full, harts });
    const names = phandles(root);
    for (const [path, name, shape] of references(root)) {
      assert.ok(!shape.includes('?'), `${path} ${name}: ${shape}`);
    }
    assert.equal(names.size, 2 + 2 * harts);
  }
});

test('a hart without supervisor mode, a machine without slots', () => {
  const root = virtTree({ ...plain, mmuType: 'none', virtioSlots: 0, harts: 1 });
  assert.deepEqual(readStrings(nodeAt(root, '/cpus/cpu@0')?.properties.get('mmu-type')), ['riscv,none']);
  assert.ok(!nodeAt(root, '/soc')?.children.some((child) => child.name.startsWith('virtio')));
});

test('memory beyond 4 GiB and the PCIe window behind it', () => {
  const root = virtTree({ ...full, memoryBytes: 20 * 2 ** 30 });
  assert.deepEqual(readCells(nodeAt(root, '/memory@80000000')?.properties.get('reg')), [0, 0x8000_0000, 5, 0]);
  const ranges = must(readCells(nodeAt(root, '/soc/pci@30000000')?.properties.get('ranges')));
  assert.deepEqual(ranges.slice(14), [0x300_0000, 8, 0, 8, 0, 4, 0]);
});

/** What we leave out on purpose (the nodes), or say in our own way (the properties). */
const ownNodes = /^\/(?:pmu|fw-cfg@|flash@|platform-bus@)/;
const ownProperties = new Set(['phandle', 'riscv,isa', 'riscv,isa-extensions', 'rng-seed', 'riscv,cbop-block-size']);
/** Added so that dtc has nothing to warn about. */
const added = [
  '/cpus/cpu@0/interrupt-controller #address-cells 00000000',
  '/cpus/cpu@1/interrupt-controller #address-cells 00000000',
];

/** Timer and interrupt controller, and what QEMU calls them. */
const machines: readonly (Pick<VirtDescription, 'timer' | 'aia' | 'aiaGuests'> & { readonly qemu: string })[] = [
  { qemu: '' },
  { qemu: ',aclint=on', timer: 'aclint' },
  { qemu: ',aia=aplic', aia: 'aplic' },
  { qemu: ',aia=aplic-imsic', aia: 'aplic-imsic' },
  { qemu: ',aia=aplic-imsic,aia-guests=5', aia: 'aplic-imsic', aiaGuests: 5 },
];
for (const { qemu, ...machine } of machines) {
  test(`QEMU's own tree has the same nodes and properties (virt${qemu})`, requires('qemu'), () => {
    const folder = mkdtempSync(join(tmpdir(), 'kagemusha-tree-'));
    try {
      const path = join(folder, 'virt.dtb');
      const cpu = 'rv64,zicbom=on,zicboz=on,svadu=on';
      const args = [
        '-M',
        `virt,dumpdtb=${path}${qemu}`,
        '-cpu',
        cpu,
        '-smp',
        '2',
        '-m',
        '512M',
        '-bios',
        'none',
        '-nographic',
      ];
      const run = spawnSync(programPath('qemu-system-riscv64'), args, { timeout: 60_000 });
      assert.equal(run.status, 0, run.stderr.toString());
      const theirs = listing(readDeviceTree(readFileSync(path)));
      const { bootargs: _, initrd: __, rngSeed: ___, ...rest } = full;
      const ours = listing(virtTree({ ...rest, ...machine }));
      const mswi = machine.timer === 'aclint' ? ['/soc/mswi@2000000 #address-cells 00000000'] : [];
      assert.deepEqual(
        ours.filter((line) => !theirs.includes(line)),
        [...added, ...mswi].sort(),
      );
      assert.deepEqual(
        theirs.filter((line) => !ours.includes(line) && !line.startsWith('/soc/sswi@')),
        [],
      );
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
}

/** `path property value` of each property but our own, phandles resolved to paths, sorted. */
function listing(root: TreeNode): string[] {
  const lines = new Map<string, string>();
  walk(root, (path, node) => {
    lines.set(path, path);
    for (const [name, value] of node.properties) {
      const bytes = [...value].map((byte) => byte.toString(16).padStart(2, '0')).join('');
      if (!ownProperties.has(name)) lines.set(`${path} ${name}`, `${path} ${name} ${bytes}`.trim());
    }
  });
  for (const [path, name, shape] of references(root)) lines.set(`${path} ${name}`, `${path} ${name} ${shape}`);
  return [...lines.values()].filter((line) => !ownNodes.test(line)).sort();
}

/** Cells of each property that are phandles: every `stride` cells, the one at `index`. */
const referring: Record<string, { stride: number; index: number }> = {
  'interrupt-parent': { stride: 1, index: 0 },
  regmap: { stride: 1, index: 0 },
  cpu: { stride: 1, index: 0 },
  'interrupts-extended': { stride: 2, index: 0 },
  'msi-parent': { stride: 1, index: 0 },
  'riscv,children': { stride: 1, index: 0 },
  'riscv,delegate': { stride: 3, index: 0 },
  'riscv,delegation': { stride: 3, index: 0 },
  'interrupt-map': { stride: 6, index: 4 },
};

function references(root: TreeNode): [path: string, property: string, shape: string][] {
  const names = phandles(root);
  const found: [string, string, string][] = [];
  walk(root, (path, node) => {
    for (const [name, { stride, index }] of Object.entries(referring)) {
      const values = readCells(node.properties.get(name));
      if (values === undefined) continue;
      // With an APLIC each entry of the map has one cell more.
      const cells = name === 'interrupt-map' && values.length % 7 === 0 && values.length % 6 !== 0 ? 7 : stride;
      const shown = values.map((value, i) => (i % cells === index ? (names.get(value) ?? '?') : value));
      found.push([path, name, shown.join(' ')]);
    }
  });
  return found;
}

function phandles(root: TreeNode): Map<number, string> {
  const found = new Map<number, string>();
  walk(root, (path, node) => {
    const [phandle] = readCells(node.properties.get('phandle')) ?? [];
    if (phandle === undefined) return;
    assert.ok(!found.has(phandle), `phandle ${phandle} twice`);
    found.set(phandle, path);
  });
  return found;
}

function walk(node: TreeNode, visit: (path: string, node: TreeNode) => void, path = ''): void {
  visit(path === '' ? '/' : path, node);
  for (const child of node.children) walk(child, visit, `${path}/${child.name}`);
}
