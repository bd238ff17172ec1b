/**
 * How fast the TCP path is, without the host's sockets: a guest that only acknowledges or only sends, and a host
 * that has bytes at once or takes them at once. Run: node bench/network/tcp-path.ts [least MB/s]
 * Prints the median and the range of several rounds; ends with 1 when a median is below the bound (default 200).
 */
import { argv, exit } from 'node:process';
import { BulkGuest } from '../../src/network/bulk-guest.testing.ts';
import { addToSum } from '../../src/network/checksum.ts';
import type { NetworkPorts, TcpSocketEvents } from '../../src/network/ports.ts';
import { UserNetwork } from '../../src/network/user-network.ts';

const ROUNDS = 5;
const BYTES = 200 * 2 ** 20;
const CHUNK = new Uint8Array(65536).fill(0x33);
const OFFLOAD = { checksumValid: true, segmentBytes: 1460 };

class InstantHost {
  events: TcpSocketEvents | undefined;
  paused = true;
  written = 0;
  undrained = 0;
  readonly ports: NetworkPorts = {
    clock: { nowMs: () => performance.now() },
    timers: {
      after: (delayMs, fire) => {
        const timer = setTimeout(fire, delayMs);
        return { cancel: () => clearTimeout(timer) };
      },
    },
    random: () => 12345,
    tcp: {
      connect: (_address, _port, events) => {
        this.events = events;
        return {
          write: (bytes) => {
            this.written += bytes.length;
            this.undrained += bytes.length;
          },
          end: () => {},
          reset: () => {},
          pause: () => {
            this.paused = true;
          },
          resume: () => {
            this.paused = false;
          },
        };
      },
      listen: () => ({ close: () => {} }),
    },
    udp: { open: () => ({ send: () => {}, close: () => {} }) },
    dns: { hostsLookup: () => undefined, available: () => false, exchange: () => {}, tcpServer: () => undefined },
  };
}

function open(offload: boolean): { host: InstantHost; guest: BulkGuest; network: UserNetwork } {
  const host = new InstantHost();
  const network = new UserNetwork({ ports: host.ports }, (frame) => guest.receive(frame));
  const guest: BulkGuest = new BulkGuest((frame, own) => network.receive(frame, own), offload ? OFFLOAD : undefined);
  if (offload) network.setGuestOffload({ checksum: true, largePacketBytes: 65535 });
  guest.connect(80);
  host.events?.connected();
  // The answer to the SYN-ACK could not be sent from within its delivery.
  guest.acknowledge();
  return { host, guest, network };
}

function download(offload: boolean): number {
  const { host, guest, network } = open(offload);
  const start = performance.now();
  while (guest.receivedBytes < BYTES) {
    if (!host.paused) host.events?.data(CHUNK);
    if (guest.hasNews) guest.acknowledge();
  }
  const elapsedMs = performance.now() - start;
  network.close();
  return guest.receivedBytes / elapsedMs / 1000;
}

function upload(offload: boolean, segmentBytes: number): number {
  const { host, guest, network } = open(offload);
  const start = performance.now();
  while (guest.sentBytes < BYTES) {
    while (guest.sendSegment(segmentBytes));
    const { undrained } = host;
    host.undrained = 0;
    host.events?.drained(undrained);
  }
  const elapsedMs = performance.now() - start;
  network.close();
  return host.written / elapsedMs / 1000;
}

/** What checksum.ts would be with the loads that the RFC speaks of. */
function addByHalves(view: DataView, at: number, lengthBytes: number, sum: number): number {
  let total = sum;
  for (let i = at; i < at + lengthBytes; i += 2) total += view.getUint16(i, true);
  return total;
}

function checksum(add: typeof addToSum): number {
  const view = new DataView(new ArrayBuffer(1500));
  const rounds = BYTES / 1460;
  let sum = 0;
  const start = performance.now();
  for (let i = 0; i < rounds; i += 1) sum ^= add(view, 34, 1460, i);
  const elapsedMs = performance.now() - start;
  return sum === -1 ? 0 : BYTES / elapsedMs / 1000;
}

const least = Number(argv[2] ?? 200);
const workloads: [string, () => number][] = [
  ['download, 1460-byte segments, checksums', () => download(false)],
  ['download, large frames, offloaded', () => download(true)],
  ['upload, 1460-byte segments, checksums', () => upload(false, 1460)],
  ['upload, 62780-byte frames, offloaded', () => upload(true, 62780)],
  ['checksum alone, 1460 bytes', () => checksum(addToSum)],
  ['checksum alone, 16-bit loads', () => checksum(addByHalves)],
];
let slow = false;
for (const [name, run] of workloads) {
  const rates = Array.from({ length: ROUNDS }, run).sort((a, b) => a - b);
  const [lowest = 0, median = 0, highest = 0] = [rates[0], rates[ROUNDS >> 1], rates[ROUNDS - 1]];
  slow ||= median < least;
  console.log(
    `${name.padEnd(42)} ${median.toFixed(0).padStart(6)} MB/s  (${lowest.toFixed(0)} to ${highest.toFixed(0)})`,
  );
}
exit(slow ? 1 : 0);
