/**
 * A full Debian disk in our own guest, from packages to work:
 *
 *   node test/long/debian-disk.ts [--name proof-disk] [--keep] [PACKAGE...]
 *
 * Builds the disk (python3 and gcc, or the packages named), with its second stage in a machine of ours; boots it behind
 * a copy-on-write layer to systemd's login; lets python3 and gcc work in it; powers off. `--keep` takes the image of that
 * name as it is, if there is one. Takes minutes: a script, no test. Exit code 1 if something is not as it must be.
 */
import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import { buildDebianDisk, findImage } from '../../src/host/images/index.ts';
import { createMachine } from '../../src/host/machine/index.ts';
import { Guest } from '../system/guest.testing.ts';

const LIMIT_MS = 40 * 60_000;
const MEMORY_BYTES = 1 << 30;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { name: { type: 'string', default: 'proof-disk' }, keep: { type: 'boolean', default: false } },
});
const packages = positionals.length > 0 ? positionals : ['python3', 'gcc', 'libc6-dev'];
const started = performance.now();
const say = (line: string): void => {
  process.stdout.write(`${((performance.now() - started) / 1000).toFixed(1).padStart(7)} s  ${line}\n`);
};

let step = '';
const image =
  (values.keep ? await findImage(values.name) : undefined) ??
  (await buildDebianDisk({
    name: values.name,
    packages,
    progress: (progress) => {
      if (progress.step !== step) say(progress.step);
      step = progress.step;
    },
    boot: async ({ kernel, initrd, disk, commandLine }) => {
      const machine = await createMachine({
        ...{ kernel, initrd, append: commandLine, memoryBytes: MEMORY_BYTES, drives: [{ file: disk }] },
        signal: AbortSignal.timeout(LIMIT_MS),
      });
      return (await machine.exited).code;
    },
  }));
assert.ok(image.disk, `${values.name} has a disk`);
say(`there is ${values.name}`);

await using guest = await Guest.start(
  {
    ...{ kernel: image.kernel, initrd: image.initrd, append: image.commandLine, memoryBytes: MEMORY_BYTES },
    drives: [{ file: image.disk, overlay: true }],
  },
  LIMIT_MS,
);
await guest.shows(new RegExp(`${values.name} login: `));
say('login');

async function check(script: string, output: string): Promise<void> {
  const { code, stdout, stderr } = await guest.run(script);
  say(`${script}: ${stdout.trim()}`);
  assert.deepEqual([stdout.trim(), code], [output, 0], stderr);
}
await check('systemctl is-system-running --wait', 'running');
await check("dpkg --audit; dpkg -l | grep -c '^i[^i]' || :", '0');
if (packages.includes('python3')) await check('python3 -c "print(sum(range(10**6)))"', '499999500000');
if (packages.includes('gcc')) {
  const program = '#include <stdio.h>\\nint main(void) { puts("compiled"); }\\n';
  await check(`printf '${program}' > a.c && gcc -O2 a.c && ./a.out`, 'compiled');
}
assert.deepEqual(await guest.machine.stop(), { reason: 'poweroff', code: 0 });
say('powered off');
