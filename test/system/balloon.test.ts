/** Debian's kernel gives memory back: what it frees is reported, and what it is asked for comes by its balloon. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MachineHandle } from '../../src/host/machine/index.ts';
import { type BalloonReport, createMachine, OperatorError } from '../../src/index.ts';
import { requires } from '../capability.ts';
import { debianImage } from './guest.testing.ts';

const MiB = 2 ** 20;
const PATIENCE_MS = 60_000;

/** The first report of which `holds` is true. */
async function until(machine: MachineHandle, holds: (report: BalloonReport) => boolean): Promise<BalloonReport> {
  for (const end = performance.now() + PATIENCE_MS; ; ) {
    const report = await machine.balloon();
    if (holds(report)) return report;
    assert(performance.now() < end, `in ${PATIENCE_MS / 1000} s no more than ${JSON.stringify(report)}`);
    await sleep(200);
  }
}

async function run(machine: MachineHandle, script: string): Promise<string> {
  const { code, stdout, stderr } = await machine.exec(['sh', '-c', script]);
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim();
}

test('memory that Debian frees, or is asked for, is there for others', {
  ...requires('apt'),
  timeout: 240_000,
}, async () => {
  const { kernel, initrd, commandLine } = await debianImage();
  const options = { kernel, initrd, append: commandLine, memoryBytes: 256 * MiB, network: false };
  await using machine = await createMachine({ ...options, room: { partitions: 3, memoryBytes: 768 * MiB } });
  await machine.ready();
  await run(
    machine,
    'mkdir -p /tmp/many && mount -t tmpfs none /tmp/many && dd if=/dev/urandom of=/tmp/many/a bs=1M count=80',
  );
  const full = await machine.balloon();
  assert(full.hasDriver);
  assert(full.touchedBytes > 80 * MiB, `${full.touchedBytes} bytes in use`);
  await run(machine, 'rm /tmp/many/a');
  const freed = await until(machine, ({ touchedBytes }) => touchedBytes < full.touchedBytes - 60 * MiB);
  assert(freed.reportedBytes >= 60 * MiB, `${freed.reportedBytes} bytes reported`);

  // Frames that it had serve another guest, and it goes on itself.
  await using other = await machine.createPartition(options);
  await other.ready();
  const sum = 'dd if=/dev/zero bs=1M count=50 2>/dev/null | md5sum';
  assert.equal(await run(other, sum), await run(machine, sum));

  await machine.setBalloon(128 * MiB);
  const small = await until(machine, ({ balloonBytes }) => balloonBytes >= 128 * MiB);
  assert.equal(small.targetBytes, 128 * MiB);
  assert(small.touchedBytes <= 128 * MiB, `${small.touchedBytes} bytes in use`);
  await until(machine, ({ guest }) => (guest['freeBytes'] ?? 256 * MiB) < 128 * MiB);
  await machine.setBalloon(256 * MiB);
  await until(machine, ({ balloonBytes }) => balloonBytes === 0);
  await run(machine, 'dd if=/dev/zero of=/tmp/many/b bs=1M count=80 && md5sum /tmp/many/b');
  await other.kill();
  // Its blocks may be another's by now.
  for (const late of [other.balloon(), other.setBalloon(128 * MiB), other.hotRegions()])
    await assert.rejects(late, (error) => error instanceof OperatorError && error.code === 'machine-ended');
  await assert.rejects(
    machine.setBalloon(257 * MiB),
    (error) => error instanceof OperatorError && error.code === 'bad-memory',
  );
});
