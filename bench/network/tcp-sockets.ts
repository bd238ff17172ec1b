/**
 * How fast the TCP path is through real sockets of this host: a server in a process of its own, a guest that only
 * acknowledges or only sends. Run: node bench/network/tcp-sockets.ts [least MB/s]
 * Prints the median and the range of several rounds; ends with 1 when a median is below the bound (default 100).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { argv, exit } from 'node:process';
import { startUserNetwork } from '../../src/host/network/index.ts';
import { BulkGuest } from '../../src/network/bulk-guest.testing.ts';

const ROUNDS = 5;
const BYTES = 256 * 2 ** 20;
const OFFLOAD = { checksumValid: true, segmentBytes: 1460 };

/** Sends and swallows without end; prints its port. */
function serve(): void {
  const chunk = new Uint8Array(1 << 18).fill(0x33);
  const server = createServer((socket) => {
    const pump = (): void => {
      while (socket.writable && socket.write(chunk));
    };
    socket.on('drain', pump);
    socket.on('error', () => {});
    socket.on('data', () => {});
    if (argv[3] === 'send') pump();
  });
  server.listen(0, '127.0.0.1', () => {
    const address = server.address();
    console.log(typeof address === 'object' ? address?.port : '');
  });
}

async function startServer(mode: 'send' | 'swallow'): Promise<{ child: ChildProcess; port: number }> {
  const child = spawn(process.execPath, [import.meta.filename, 'serve', mode], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { child, port: Number(line.toString()) };
}

async function measure(mode: 'send' | 'swallow', offload: boolean, port: number): Promise<number> {
  const running = await startUserNetwork({}, (frame) => guest.receive(frame), { nameservers: [] });
  const { network } = running;
  const guest: BulkGuest = new BulkGuest((frame, own) => network.receive(frame, own), offload ? OFFLOAD : undefined);
  if (offload) network.setGuestOffload({ checksum: true, largePacketBytes: 65535 });
  guest.connect(port);
  const segmentBytes = offload ? 62780 : 1460;
  const start = performance.now();
  const passed = (): number => (mode === 'send' ? guest.receivedBytes : network.stats().tcp.bytesToHost);
  while (passed() < BYTES) {
    await new Promise((resolve) => setImmediate(resolve));
    if (guest.hasNews) guest.acknowledge();
    if (mode === 'swallow' && guest.connected) while (guest.sendSegment(segmentBytes));
  }
  const rate = passed() / (performance.now() - start) / 1000;
  running.close();
  return rate;
}

if (argv[2] === 'serve') serve();
else {
  const least = Number(argv[2] ?? 100);
  let slow = false;
  for (const mode of ['send', 'swallow'] as const) {
    const { child, port } = await startServer(mode);
    for (const offload of [false, true]) {
      const rates: number[] = [];
      for (let round = 0; round < ROUNDS; round += 1) rates.push(await measure(mode, offload, port));
      rates.sort((a, b) => a - b);
      const [lowest = 0, median = 0, highest = 0] = [rates[0], rates[ROUNDS >> 1], rates[ROUNDS - 1]];
      slow ||= median < least;
      const name = `${mode === 'send' ? 'download' : 'upload'}, ${offload ? 'large frames, offloaded' : '1460-byte segments'}`;
      console.log(
        `${name.padEnd(42)} ${median.toFixed(0).padStart(6)} MB/s  (${lowest.toFixed(0)} to ${highest.toFixed(0)})`,
      );
    }
    child.kill();
  }
  exit(slow ? 1 : 0);
}
