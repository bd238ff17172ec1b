import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { requires } from '../../../test/capability.ts';
import { programPath } from '../../../test/toolbox.ts';
import { OperatorError } from '../../base/errors.ts';
import { binary, decompress, elf, file, gzip, linuxImage, text, zboot, zstd } from './boot.testing.ts';
import { type AddressRange, type BootPlan, type BootRequest, planBoot } from './index.ts';

const MiB = 2 ** 20;
const tree = new Uint8Array(5000).fill(0xdd);

function plan(wishes: Partial<BootRequest>): BootPlan {
  return planBoot({ memoryBytes: 512 * MiB, firmware: 'built-in', decompress, deviceTree: () => tree, ...wishes });
}

/** `what start-end` of each segment. */
function layout({ segments }: BootPlan): string[] {
  return segments.map(({ what, gpa, sizeBytes }) => `${what} ${gpa.toString(16)}-${(gpa + sizeBytes).toString(16)}`);
}

const kernel = file('kernel', linuxImage({ sizeBytes: 3 * MiB, imageSize: BigInt(4 * MiB) }));
const initrd = file('initrd', text('070701').slice(0, 6));
const firmware = file('firmware', binary(0x4_0000, [[0, 0x40f1_2573]]));

test('built-in SBI: hart 0 in supervisor mode at the kernel, tree and initrd where QEMU has them', () => {
  const seen: (AddressRange | undefined)[] = [];
  const made = plan({
    kernel,
    initrd,
    deviceTree: (range) => {
      seen.push(range);
      return tree;
    },
  });
  assert.deepEqual(layout(made), [
    'kernel 80200000-80600000',
    'initrd 90200000-90200006',
    'device tree 9fe00000-9fe01388',
  ]);
  assert.deepEqual([made.mode, made.entry, made.fdtAddress], ['S', 0x8020_0000, 0x9fe0_0000]);
  assert.deepEqual(made.initrd, { start: 0x9020_0000, end: 0x9020_0006 });
  assert.deepEqual(seen.at(-1), made.initrd);
  assert.equal(made.segments[0]?.bytes, kernel.bytes, 'borrowed, not copied');
});

test('firmware: all harts in machine mode at the reset ROM, kernel as its payload', () => {
  const made = plan({ firmware, kernel: file('kernel', binary(100, [[0, 0x1234_5678]])) });
  assert.deepEqual(layout(made), [
    'reset vector 1000-1058',
    'firmware 80000000-80040000',
    'kernel 80200000-80200064',
    'device tree 9fe00000-9fe01388',
  ]);
  assert.deepEqual([made.mode, made.entry], ['M', 0x1000]);
  const rom = made.segments[0]?.bytes ?? new Uint8Array();
  const words = Array.from({ length: rom.length / 8 }, (_, i) =>
    new DataView(rom.buffer).getBigUint64(i * 8, true).toString(16),
  );
  assert.deepEqual(words.slice(3), ['80000000', '9fe00000', '4942534f', '2', '80200000', '1', '0', '0']);
});

test('firmware alone, and firmware that is larger than 2 MiB', () => {
  assert.deepEqual(layout(plan({ firmware })).length, 3);
  const large = file('firmware', binary(2 * MiB + 1, [[0, 1]]));
  assert.ok(layout(plan({ firmware: large, kernel })).includes('kernel 80400000-80800000'));
});

test('no firmware: a bare-metal ELF starts in machine mode at its entry', () => {
  const segments = [
    { virtual: 0x8000_0000n, content: 'code', sizeBytes: 4n },
    { virtual: 0xffff_ffff_8000_1000n, physical: 0x8000_1000n, content: 'data', sizeBytes: 0x100n },
  ];
  const made = plan({ firmware: 'none', kernel: file('kernel', elf({ segments, entry: 0xffff_ffff_8000_1002n })) });
  assert.deepEqual(layout(made).slice(0, 3), [
    'reset vector 1000-1058',
    'kernel segment 0 80000000-80000004',
    'kernel segment 1 80001000-80001100',
  ]);
  assert.deepEqual(made.segments[2]?.bytes, text('data'));
  const rom = made.segments[0]?.bytes ?? new Uint8Array();
  assert.equal(new DataView(rom.buffer).getBigUint64(24, true), 0x8000_1002n, 'the physical place of the entry');
});

test('a position-independent ELF linked at 0 moves to where its kind is loaded', () => {
  const segments = [
    { virtual: 0n, content: 'text' },
    { virtual: 0x1000n, content: 'data', sizeBytes: 64n },
  ];
  const pie = elf({ type: 3, segments, entry: 2n });
  assert.deepEqual(layout(plan({ firmware: file('firmware', pie) })).slice(1, 3), [
    'firmware segment 0 80000000-80000004',
    'firmware segment 1 80001000-80001040',
  ]);
  const made = plan({ kernel: file('kernel', pie) });
  assert.equal(made.entry, 0x8020_0002);
});

const wrapped: readonly [name: string, bytes: Uint8Array][] = [
  ['gzip', gzip(kernel.bytes)],
  ['zstd', zstd(kernel.bytes)],
  ['zboot with gzip', zboot(gzip(kernel.bytes))],
  ['zboot with zstd', zboot(zstd(kernel.bytes), 'zstd22')],
  ['gzip of zboot', gzip(zboot(gzip(kernel.bytes)))],
];
for (const [name, bytes] of wrapped) {
  test(`unwraps ${name}`, () => {
    const made = plan({ kernel: file('kernel', bytes) });
    assert.deepEqual(layout(made).slice(0, 1), ['kernel 80200000-80600000']);
    assert.ok(Buffer.from(kernel.bytes).equals(made.segments[0]?.bytes ?? new Uint8Array()));
  });
}

test('an initrd that does not fit behind the kernel goes below the tree; memory is used to the last page', () => {
  const big = file('initrd', new Uint8Array(50 * MiB).fill(1));
  const made = plan({ memoryBytes: 64 * MiB, kernel, initrd: big });
  assert.deepEqual(layout(made), [
    'kernel 80200000-80600000',
    'initrd 80c00000-83e00000',
    'device tree 83e00000-83e01388',
  ]);
  const small = plan({ memoryBytes: 7 * MiB, kernel });
  assert.deepEqual(layout(small).slice(1), ['device tree 80600000-80601388']);
});

test('a kernel that reaches beyond the usual place pushes the initrd up, to a page border', () => {
  const large = file('kernel', linuxImage({ imageSize: BigInt(300 * MiB) }));
  assert.deepEqual(layout(plan({ kernel: large, initrd })), [
    'kernel 80200000-92e00000',
    'initrd 9fdff000-9fdff006',
    'device tree 9fe00000-9fe01388',
  ]);
});

test('an Image that does not tell its size has the size of its file', () => {
  const old = file('kernel', linuxImage({ sizeBytes: 0x3000, imageSize: 0n }));
  assert.deepEqual(layout(plan({ kernel: old })).slice(0, 1), ['kernel 80200000-80203000']);
});

test('much memory: the initrd stays within 512 MiB of the kernel, the tree goes to the end', () => {
  const made = plan({ memoryBytes: 8192 * MiB, kernel, initrd });
  assert.deepEqual(layout(made).slice(1), ['initrd a0200000-a0200006', 'device tree 27fe00000-27fe01388']);
});

test('a wrapping that grows beyond all kernels is refused, even if the host lets it', () => {
  const asked: number[] = [];
  const careless = {
    gunzip: (_: Uint8Array, mostBytes: number) => {
      asked.push(mostBytes);
      return { length: mostBytes + 1 } as Uint8Array;
    },
  };
  assert.throws(
    () => plan({ kernel: file('kernel', wrapped[0]?.[1] ?? new Uint8Array()), decompress: careless }),
    (error) => error instanceof OperatorError && error.code === 'kernel-damaged' && /more than/.test(error.message),
  );
  assert.deepEqual(asked, [2 ** 30]);
});

test('a host without zstd says so', () => {
  assert.throws(
    () => plan({ kernel: file('kernel', zstd(kernel.bytes)), decompress: { gunzip: decompress.gunzip } }),
    (error) => error instanceof OperatorError && error.code === 'kernel-unsupported-compression',
  );
});

interface Refusal {
  readonly name: string;
  readonly wishes: Partial<BootRequest>;
  readonly code: string;
  readonly says: RegExp;
  readonly fix?: RegExp;
}

const asKernel = (bytes: Uint8Array): Partial<BootRequest> => ({ kernel: file('kernel', bytes) });
const small: Partial<BootRequest> = { memoryBytes: 8 * MiB };

const refusals: readonly Refusal[] = [
  { name: 'nothing', wishes: {}, code: 'kernel-missing', says: /no kernel/, fix: /--kernel/ },
  { name: 'nothing at all', wishes: { firmware: 'none' }, code: 'kernel-missing', says: /neither firmware nor/ },
  { name: 'an empty file', wishes: asKernel(new Uint8Array()), code: 'kernel-not-recognized', says: /is empty/ },
  {
    name: 'an x86 bzImage',
    wishes: asKernel(
      binary(4096, [
        [0, 'MZ'],
        [0x1fe, 0xaa55],
        [0x202, 'HdrS'],
      ]),
    ),
    code: 'kernel-wrong-architecture',
    says: /kernel 'kernel.bin' is an x86 kernel \(bzImage\); this machine is RISC-V with 64 bits/,
    fix: /riscv64/,
  },
  {
    name: 'an aarch64 Image',
    wishes: asKernel(binary(4096, [[56, 'ARM\x64']])),
    code: 'kernel-wrong-architecture',
    says: /aarch64 kernel/,
  },
  {
    name: 'an aarch64 Image in gzip',
    wishes: asKernel(gzip(binary(4096, [[56, 'ARM\x64']]))),
    code: 'kernel-wrong-architecture',
    says: /aarch64 kernel/,
  },
  {
    name: 'an aarch64 zboot image',
    wishes: asKernel(
      binary(4096, [
        [0, 'MZ\0\0zimg'],
        [60, 0x40],
        [0x40, 'PE\0\0\x64\xaa'],
      ]),
    ),
    code: 'kernel-wrong-architecture',
    says: /EFI program for aarch64/,
  },
  {
    name: 'an Image for 32 bits',
    wishes: asKernel(linuxImage({ textOffset: 0x40_0000n })),
    code: 'kernel-wrong-architecture',
    says: /RISC-V with 32 bits/,
  },
  {
    name: 'an EFI kernel for 32 bits',
    wishes: asKernel(linuxImage({ peMachine: 0x5032 })),
    code: 'kernel-wrong-architecture',
    says: /RISC-V with 32 bits/,
  },
  {
    name: 'a big-endian Image',
    wishes: asKernel(linuxImage({ flags: 1n })),
    code: 'kernel-wrong-architecture',
    says: /big-endian/,
  },
  {
    name: 'an Image that is cut off',
    wishes: asKernel(linuxImage({ peMachine: 0x5064, peEnd: 0x2000 })),
    code: 'kernel-truncated',
    says: /cut off: 4096 of at least 8192 bytes/,
    fix: /again/,
  },
  {
    name: 'a header and nothing else',
    wishes: asKernel(linuxImage().slice(0, 60)),
    code: 'kernel-truncated',
    says: /cut off: 60 of at least 64/,
  },
  {
    name: 'an Image with an impossible size',
    wishes: asKernel(linuxImage({ imageSize: 2n ** 63n })),
    code: 'kernel-damaged',
    says: /impossible sizes/,
  },
  {
    name: 'a kernel for machine mode',
    wishes: asKernel(linuxImage({ textOffset: 0n })),
    code: 'kernel-needs-machine-mode',
    says: /built for machine mode/,
    fix: /--bios none/,
  },
  {
    name: 'a kernel as firmware',
    wishes: { firmware: file('firmware', linuxImage()) },
    code: 'kernel-needs-firmware',
    says: /firmware 'firmware.bin' is a Linux kernel/,
    fix: /--kernel/,
  },
  {
    name: 'gzip that is cut off',
    wishes: asKernel(gzip(kernel.bytes).slice(0, 500)),
    code: 'kernel-damaged',
    says: /gzip data does not decompress/,
  },
  {
    name: 'zboot that is cut off',
    wishes: asKernel(zboot(gzip(kernel.bytes)).slice(0, 900)),
    code: 'kernel-truncated',
    says: /cut off: 900/,
  },
  {
    name: 'zboot with xz',
    wishes: asKernel(zboot(text('\xfd7zXZ\0'), 'xzkern')),
    code: 'kernel-unsupported-compression',
    says: /compressed with xz/,
    fix: /Decompress it first/,
  },
  {
    name: 'wrappings without end',
    wishes: asKernel(gzip(gzip(gzip(gzip(kernel.bytes))))),
    code: 'kernel-damaged',
    says: /wrapped more than 3 times/,
  },
  {
    name: 'an initrd as kernel',
    wishes: asKernel(gzip(text('070701000000'))),
    code: 'kernel-not-recognized',
    says: /initial RAM disk/,
    fix: /--initrd/,
  },
  {
    name: 'a kernel as initrd',
    wishes: { kernel, initrd: file('initrd', kernel.bytes) },
    code: 'initrd-not-recognized',
    says: /a program, not an initial RAM disk/,
  },
  {
    name: 'a disk',
    wishes: asKernel(binary(4096, [[0x438, '\x53\xef']])),
    code: 'kernel-not-recognized',
    says: /ext4 file system/,
    fix: /--drive/,
  },
  { name: 'a text', wishes: asKernel(text('<html>no')), code: 'kernel-not-recognized', says: /text file/ },
  {
    name: 'bytes of no format, without firmware',
    wishes: asKernel(binary(4096, [[0, 0x1357_9bdf]])),
    code: 'kernel-not-recognized',
    says: /not a kernel of any format known/,
    fix: /--bios/,
  },
  {
    name: 'an ELF for x86-64',
    wishes: asKernel(elf({ machine: 62 })),
    code: 'kernel-wrong-architecture',
    says: /program for x86-64/,
  },
  {
    name: 'an ELF for RISC-V with 32 bits, as firmware',
    wishes: { firmware: file('firmware', elf({ bits: 32 })) },
    code: 'firmware-wrong-architecture',
    says: /firmware 'firmware.bin' is a program for RISC-V with 32 bits/,
    fix: /opensbi/,
  },
  {
    name: 'a big-endian ELF',
    wishes: asKernel(elf({ bigEndian: true })),
    code: 'kernel-wrong-architecture',
    says: /big-endian/,
  },
  { name: 'an object file', wishes: asKernel(elf({ type: 1 })), code: 'kernel-not-recognized', says: /object file/ },
  {
    name: "an operating system's program",
    wishes: asKernel(elf({ segments: [{ type: 3, virtual: 0n, content: '/lib/ld.so' }] })),
    code: 'kernel-not-recognized',
    says: /names an interpreter/,
  },
  {
    name: 'an ELF that is cut off',
    wishes: asKernel(elf({ segments: [{ virtual: 0x8000_0000n, content: 'x', fileBytes: 99n, sizeBytes: 99n }] })),
    code: 'kernel-truncated',
    says: /cut off/,
  },
  {
    name: 'an ELF whose segment shrinks',
    wishes: asKernel(elf({ segments: [{ virtual: 0x8000_0000n, content: 'xyz', sizeBytes: 2n }] })),
    code: 'kernel-damaged',
    says: /larger in the file than in memory/,
  },
  {
    name: 'an ELF without segments',
    wishes: asKernel(elf({ segments: [] })),
    code: 'kernel-not-recognized',
    says: /without anything to load/,
  },
  {
    name: 'an ELF that starts nowhere',
    wishes: asKernel(elf({ entry: 4n })),
    code: 'kernel-damaged',
    says: /entry point 0x4 lies in none/,
  },
  {
    name: 'an ELF linked below memory',
    wishes: asKernel(elf({ segments: [{ virtual: 0x1_0000n, content: 'x' }] })),
    code: 'kernel-outside-memory',
    says: /linked to 0x10000 to 0x10000, and the machine's memory is 0x80000000 to 0x9fffffff/,
  },
  {
    name: 'vmlinux',
    wishes: asKernel(elf({ segments: [{ virtual: 0xffff_ffff_8000_0000n, content: 'x' }] })),
    code: 'kernel-outside-memory',
    says: /addresses that no machine has/,
    fix: /Image, not vmlinux/,
  },
  {
    name: 'an ELF behind the end of memory',
    wishes: asKernel(elf({ segments: [{ virtual: 0xa000_0000n, content: 'x' }] })),
    code: 'memory-too-small',
    says: /0xa0000000/,
    fix: /at least 513 MiB/,
  },
  {
    name: 'a kernel on top of firmware',
    wishes: { firmware, ...asKernel(elf({ segments: [{ virtual: 0x8003_0000n, content: 'x' }] })) },
    code: 'boot-overlap',
    says: /firmware and kernel segment 0 both lie at 0x80030000/,
  },
  {
    name: 'too little memory for the kernel',
    wishes: { ...small, ...asKernel(linuxImage({ imageSize: BigInt(30 * MiB) })) },
    code: 'memory-too-small',
    says: /kernel 'kernel.bin' needs 32 MiB of memory, and the machine has 8 MiB/,
    fix: /-m 32M/,
  },
  {
    name: 'too little memory for the initrd',
    wishes: { ...small, kernel, initrd: file('initrd', new Uint8Array(20 * MiB).fill(1)) },
    code: 'memory-too-small',
    says: /kernel, initrd and device tree need 29 MiB of memory, and the machine has 8 MiB/,
    fix: /-m 32M/,
  },
  {
    name: 'too little memory for the device tree',
    wishes: { memoryBytes: 6 * MiB, kernel },
    code: 'memory-too-small',
    says: /kernel and device tree need 7 MiB/,
  },
  {
    name: 'half a page of memory',
    wishes: { memoryBytes: 2 * MiB + 2048, kernel },
    code: 'memory-size-invalid',
    says: /2099200/,
  },
  { name: 'no memory', wishes: { memoryBytes: 0, kernel }, code: 'memory-size-invalid', says: /0 bytes/, fix: /MiB/ },
];
for (const { name, wishes, code, says, fix } of refusals) {
  test(`refused: ${name}`, () => {
    assert.throws(
      () => plan(wishes),
      (error) => {
        assert.ok(error instanceof OperatorError, String(error));
        assert.equal(error.code, code, error.message);
        assert.match(error.message, says);
        assert.match(error.fix, fix ?? /./);
        assert.ok(!error.message.includes('\n'));
        return true;
      },
    );
  });
}

test(
  "QEMU's reset ROM has the same words, and puts kernel, initrd and tree at the same places",
  requires('qemu'),
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'kagemusha-boot-'));
    try {
      const payload = file('kernel', new Uint8Array(MiB).fill(0x13));
      const disk = file('initrd', new Uint8Array(MiB / 2).fill(7));
      for (const { role, bytes } of [firmware, payload, disk]) writeFileSync(join(folder, role), bytes);
      for (const memoryMiB of [256, 512, 4096]) {
        const made = plan({ memoryBytes: memoryMiB * MiB, firmware, kernel: payload, initrd: disk });
        const shown = await qemuMonitor(folder, memoryMiB);
        const rom = made.segments[0]?.bytes ?? new Uint8Array();
        const ours = Array.from({ length: rom.length / 4 }, (_, i) => new DataView(rom.buffer).getUint32(i * 4, true));
        const theirs = [...shown.matchAll(/^0+1[0-9a-f]{3}:((?: 0x[0-9a-f]{8})+)/gm)]
          .flatMap((match) => (match[1] ?? '').trim().split(' '))
          .map(Number);
        assert.deepEqual(ours, theirs.slice(0, ours.length), `${memoryMiB} MiB`);
        const roms = new Map(
          [...shown.matchAll(/^addr=0*([0-9a-f]+) size=\S+ mem=ram name="([^"]+)"/gm)].map((m) => [m[2], m[1]]),
        );
        for (const { what, gpa } of made.segments.slice(1)) {
          const name = what === 'device tree' ? 'fdt' : join(folder, what);
          assert.equal(roms.get(name), gpa.toString(16), `${what}, ${memoryMiB} MiB`);
        }
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
);

/** What QEMU's monitor says of the reset ROM and of what it loaded. */
async function qemuMonitor(folder: string, memoryMiB: number): Promise<string> {
  const files = [
    '-bios',
    join(folder, 'firmware'),
    '-kernel',
    join(folder, 'kernel'),
    '-initrd',
    join(folder, 'initrd'),
  ];
  const quiet = ['-S', '-display', 'none', '-serial', 'null', '-monitor', 'stdio'];
  const qemu = spawn(programPath('qemu-system-riscv64'), ['-M', 'virt', '-m', `${memoryMiB}M`, ...quiet, ...files], {
    timeout: 60_000,
  });
  let shown = '';
  qemu.stdout.on('data', (chunk: Uint8Array) => {
    shown += new TextDecoder().decode(chunk);
  });
  qemu.stdin.end('x /22wx 0x1000\ninfo roms\nquit\n');
  await new Promise((resolve) => qemu.on('close', resolve));
  return shown.replaceAll('\r', '');
}
