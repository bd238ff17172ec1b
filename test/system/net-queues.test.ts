/** Debian's driver of a network interface with several pairs of queues: each queue has its message, and flows their pair. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { requires } from '../capability.ts';
import { debianImage, Guest } from './guest.testing.ts';

const FLOWS = 24;

test('pairs of queues: a message for each queue, addresses by DHCP, flows over all of them', {
  ...requires('apt'),
  timeout: 240_000,
}, async () => {
  const { kernel, initrd, commandLine } = await debianImage();
  const pci = {
    ports: [{ id: 'rp0', device: 1, func: 0 }],
    functions: [{ id: 'net0', port: 'rp0', device: 0, func: 0, queues: 2 }],
  };
  const server = createServer((request, response) => void response.end(`you asked for ${request.url}`));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const options = { kernel, initrd, append: commandLine, memoryBytes: 256 << 20, cpus: 2, pci };
  await using guest = await Guest.start({ ...options, aia: 'aplic-imsic' });
  await guest.machine.ready();
  const run = async (script: string): Promise<string> => (await guest.run(script)).stdout.trim();
  assert.equal(await run('ls /sys/class/net/eth0/queues | tr "\\n" " "'), 'rx-0 rx-1 tx-0 tx-1');
  assert.match(await run('ip -4 addr show eth0'), /inet 10\.0\.2\.15/);
  const interrupts = await run('grep -o "virtio[0-9]*-\\(config\\|input.*\\|output.*\\|control.*\\)" /proc/interrupts');
  for (const name of ['config', 'input.0', 'output.0', 'input.1', 'output.1'])
    assert.ok(interrupts.includes(`-${name}`), `no vector of ${name}: ${interrupts}`);

  // The gateway's address is the host's loopback.
  const fetches = `for i in $(seq ${FLOWS}); do taskset $((1 + i % 2)) wget -q -O - http://10.0.2.2:${port}/$i; echo; done`;
  const answers = (await run(fetches)).split('\n');
  assert.deepEqual(
    answers,
    Array.from({ length: FLOWS }, (_, i) => `you asked for /${i + 1}`),
  );
  const counts = await run('grep "virtio[0-9]*-input" /proc/interrupts');
  const of = (queue: number): number => {
    const line = counts.split('\n').find((one) => one.trim().endsWith(`-input.${queue}`)) ?? '';
    return line
      .trim()
      .split(/\s+/)
      .slice(1, 3)
      .reduce((sum, count) => sum + Number(count), 0);
  };
  assert.ok(of(0) > 0 && of(1) > 0, `interrupts of both: ${counts}`);
  server.close();
});
