/**
 * How fast a guest's shared folder is: `node bench/shares.ts [--cache MODES] [--megabytes N] [--files N] [--pci]`. Debian, one
 * hart; in it guest/shares/measure.c, over the folder mounted with each of the modes of `cache=` (none,mmap,loose by default,
 * mmap as the guest's own scripts mount it), and over the guest's tmpfs for comparison. In the host's temporary folder.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { assert } from '../src/base/assert.ts';
import { createMachine, type MachineHandle, pullDebianImage } from '../src/host/index.ts';
import { crossCompile } from '../test/cross-compile.ts';
import { provide } from '../test/toolbox.ts';

const { values } = parseArgs({
  options: {
    cache: { type: 'string', default: 'none,mmap,loose' },
    megabytes: { type: 'string', default: '32' },
    files: { type: 'string', default: '300' },
    pci: { type: 'boolean', default: false },
  },
});
const [megabytes, files] = [Number(values.megabytes), Number(values.files)];
const folder = mkdtempSync(join(tmpdir(), 'kagemusha-shares-'));
try {
  await provide('cross', () => undefined);
  const shared = join(folder, 'measure');
  await crossCompile(shared, [fileURLToPath(new URL('../guest/shares/measure.c', import.meta.url))]);
  const image = await pullDebianImage();
  await using machine = await createMachine({
    ...{ kernel: image.kernel, initrd: image.initrd, append: image.commandLine, memoryBytes: 512 << 20 },
    ...{ shares: [{ host: folder, guest: '/share' }], pci: values.pci, network: false },
  });
  await machine.ready();
  const line = (cells: readonly string[]): void =>
    void process.stdout.write(`${cells.map((cell, i) => (i === 0 ? cell.padEnd(12) : cell.padStart(11))).join('')}\n`);
  line(['', 'write', 'read', 'create', 'stat', 'open+read', 'remove']);
  line(['', 'MB/s', 'MB/s', 'files/s', 'files/s', 'files/s', 'files/s']);
  await run(machine, 'cp /share/measure /tmp/measure');
  for (const mode of values.cache.split(',')) line([`cache=${mode}`, ...(await measured(machine, mode))]);
  line(['tmpfs', ...(await measured(machine, undefined))]);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function measured(machine: MachineHandle, mode: string | undefined): Promise<string[]> {
  const mount = `mkdir -p /m && mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=${mode} /share /m`;
  const where = mode === undefined ? '/tmp' : '/m';
  if (mode !== undefined) await run(machine, `umount /share 2>/dev/null; ${mount}`);
  const said = await run(
    machine,
    `/tmp/measure ${where} ${megabytes} ${files}${mode === undefined ? '' : '; umount /m'}`,
  );
  const seconds = new Map(
    said
      .trim()
      .split('\n')
      .map((one) => [one.split(' ')[0], Number(one.split(' ')[1]) / 1e9]),
  );
  return ['write', 'read', 'create', 'stat', 'open-read', 'remove'].map((what) => {
    const amount = what === 'write' || what === 'read' ? megabytes * 1.048576 : files;
    return (amount / (seconds.get(what) ?? Number.NaN)).toFixed(0);
  });
}

async function run(machine: MachineHandle, script: string): Promise<string> {
  const { code, stdout, stderr } = await machine.exec(['sh', '-c', script]);
  assert(code === 0, `${script}: ${Buffer.from(stderr).toString()}`);
  return Buffer.from(stdout).toString();
}
