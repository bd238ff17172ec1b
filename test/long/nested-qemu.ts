/**
 * Debian in Debian by Debian's own hypervisor: a full Debian guest with the package qemu-system-riscv boots another full
 * Debian by `qemu-system-riscv64 -accel kvm`, works in it, and both power off:
 *
 *   node test/long/nested-qemu.ts [--machine ours|qemu] [--cpus 1] [--aia] [--limit SECONDS] [--log FILE]
 *
 * The disk (kagemusha's image nested-proof) is built once by our own machine, with its second stage there. Each level
 * boots that disk, behind a copy-on-write layer of its own. `--machine` says whose machine the first level runs in; QEMU
 * with the H extension is the oracle. Takes minutes: a script, no test. Exit code 1 if something is not as it must be.
 */
import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeFileSystem } from '../../src/host/images/file-system.ts';
import { buildDebianDisk, findImage, type GuestImage } from '../../src/host/images/index.ts';
import { createMachine } from '../../src/host/machine/index.ts';
import { Guest } from '../system/guest.testing.ts';
import { type FirstLevel, QemuFirstLevel } from '../system/nested.testing.ts';

const NAME = 'nested-proof';
const BUILD_LIMIT_MS = 40 * 60_000;

const { values } = parseArgs({
  options: {
    machine: { type: 'string', default: 'ours' },
    cpus: { type: 'string', default: '1' },
    aia: { type: 'boolean', default: false },
    limit: { type: 'string', default: '900' },
    log: { type: 'string' },
  },
});
const LIMIT_MS = Number(values.limit) * 1000;
const started = performance.now();
const lines: string[] = [];
const say = (line: string): void => {
  lines.push(`${((performance.now() - started) / 1000).toFixed(1).padStart(7)} s  ${line}`);
  process.stdout.write(`${lines.at(-1)}\n`);
};

async function nestedDisk(): Promise<GuestImage> {
  let step = '';
  return (
    (await findImage(NAME)) ??
    (await buildDebianDisk({
      ...{ name: NAME, packages: ['qemu-system-riscv'] },
      progress: (progress) => {
        if (progress.step !== step) say(progress.step);
        step = progress.step;
      },
      boot: async ({ kernel, initrd, disk, commandLine }) => {
        const machine = await createMachine({
          ...{ kernel, initrd, append: commandLine, memoryBytes: 1 << 30, drives: [{ file: disk }] },
          signal: AbortSignal.timeout(BUILD_LIMIT_MS),
        });
        return (await machine.exited).code;
      },
    }))
  );
}

/** Kernel and initramfs of the second level, as a file system for the first to mount. */
async function bootFiles(image: GuestImage, folder: string): Promise<string> {
  const [source, file] = [mkdtempSync(join(folder, 'boot-')), join(folder, 'boot.raw')];
  copyFileSync(image.kernel, join(source, 'kernel'));
  copyFileSync(image.initrd, join(source, 'initrd'));
  await makeFileSystem(file, source, { sizeBytes: 64 << 20, label: 'boot-files' });
  return file;
}

/** A shell on a level's console, from the login on. */
class Shell {
  readonly #level: FirstLevel;
  readonly #host: string;

  private constructor(level: FirstLevel, host: string) {
    this.#level = level;
    this.#host = host;
  }

  static async login(level: FirstLevel, host: string): Promise<Shell> {
    await level.shows(new RegExp(`${host} login: `));
    say(`${host}: login`);
    level.type('root\n');
    const shell = new Shell(level, host);
    await shell.prompt();
    return shell;
  }

  async prompt(): Promise<void> {
    await this.#level.shows(new RegExp(`root@${this.#host}:.*# `));
  }

  /** Types a command; for what it says, see run. */
  type(command: string): void {
    this.#level.type(`${command}\n`);
  }

  async run(command: string): Promise<string> {
    this.type(`echo '<''<'; ${command}; echo '>''>'`);
    // Each level's terminal puts a carriage return before the end of a line.
    const text = (await this.#level.shows(/<<\r*\n.*>>\r*\n/s)).replaceAll('\r', '');
    await this.prompt();
    const said = text.slice(text.indexOf('<<\n') + 3, text.lastIndexOf('>>')).trim();
    say(`${this.#host}: ${command}: ${said.replaceAll('\n', ' | ')}`);
    return said;
  }
}

/**
 * Debian's QEMU enters level 2 with scounteren = 0, and Debian's kernel allows user mode the time CSR only where the SBI
 * has performance counters. So its clock must be one that the vDSO does not read; jiffies, which want a periodic tick.
 */
const SECOND_WORDS = [
  'console=ttyS0 quiet cryptomgr.notests root=/dev/vda rw systemd.hostname=second kage.agent=off',
  'clocksource=jiffies nohz=off highres=off',
].join(' ');

async function session(level: FirstLevel): Promise<void> {
  const first = await Shell.login(level, NAME);
  assert.equal(await first.run('modprobe kvm && ls /dev/kvm'), '/dev/kvm');
  await first.run('qemu-system-riscv64 --version | head -n 1');
  assert.equal(await first.run('mkdir /files && mount /dev/disk/by-label/boot-files /files; echo $?'), '0');
  first.type(
    [
      `qemu-system-riscv64 -machine virt${values.aia ? ',aia=aplic-imsic' : ''} -accel kvm -cpu host -smp ${values.cpus}`,
      '-m 512M -nographic -nic none -no-reboot -kernel /files/kernel -initrd /files/initrd',
      '-drive if=none,id=disk,file=/dev/vdb,format=raw -device virtio-blk-device,drive=disk',
      `-append '${SECOND_WORDS}'`,
    ].join(' '),
  );
  const second = await Shell.login(level, 'second');
  assert.equal(await second.run('systemctl is-system-running --wait'), 'running');
  assert.equal(await second.run('nproc'), values.cpus);
  await second.run('uname -a');
  await second.run('systemd-detect-virt');
  assert.match(await second.run('grep ttyS0 /proc/interrupts'), values.aia ? /APLIC/ : /PLIC/);
  assert.equal(await second.run('seq 1 100000 | sort -n | md5sum | cut -c 1-8'), 'dea9193b');
  second.type('poweroff');
  await level.shows(/reboot: Power down/);
  say('second: powered off');
  // Until then what is typed is the second level's.
  await first.prompt();
  first.type('poweroff');
}

assert.match(values.machine, /^(ours|qemu)$/, `there is no machine ${values.machine}`);
const image = await nestedDisk();
assert.ok(image.disk, `${NAME} has a disk`);
say(`there is ${NAME}`);
const { kernel, initrd } = image;
const boot = { kernel, initrd, append: `${image.commandLine} kage.agent=off`, cpus: Number(values.cpus) };
const folder = mkdtempSync(join(tmpdir(), 'kagemusha-nested-'));
try {
  const drives = [image.disk, image.disk, await bootFiles(image, folder)];
  if (values.machine === 'qemu') await inQemu(drives);
  else await inOurs(drives);
  say('first: powered off');
} finally {
  rmSync(folder, { recursive: true, force: true });
  if (values.log !== undefined) writeFileSync(values.log, `${lines.join('\n')}\n`);
}

async function inQemu(drives: readonly string[]): Promise<void> {
  await using level = new QemuFirstLevel({
    ...{ ...boot, memory: '1536M', limitMs: LIMIT_MS },
    ...(values.aia ? { aia: 'aplic-imsic', guestFiles: 3 } : {}),
    more: drives.flatMap((file, i) => [
      ...['-drive', `if=none,id=disk${i},file=${file},format=raw,snapshot=on`],
      ...['-device', `virtio-blk-device,drive=disk${i}`],
    ]),
  });
  await session(level);
  assert.equal(await level.ended, 0);
}

async function inOurs(files: readonly string[]): Promise<void> {
  const drives = files.map((file) => ({ file, overlay: true }));
  const options = { ...boot, drives, nested: true, memoryBytes: 1536 << 20 };
  const aia = values.aia ? ({ aia: 'aplic-imsic', aiaGuests: 3 } as const) : {};
  await using guest = await Guest.start({ ...options, ...aia }, LIMIT_MS);
  await session(guest);
  assert.deepEqual(await guest.machine.exited, { reason: 'poweroff', code: 0 });
}
