/**
 * Measures a guest's network and disk: the same guest in QEMU and in ours, its devices by MMIO and by PCI, in turn, run by
 * run. The network leads to a peer in this process, on the loopback address alone; the disk is a raw file that is made
 * anew for each session. What a session leaves on its disk must be the same for all.
 */
import { createCipheriv, createHash } from 'node:crypto';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { HostError } from '../src/base/errors.ts';
import type { GuestImage } from '../src/host/images/index.ts';
import { allIoWorkloads, ioClasses, selectWorkloads } from './classes.ts';
import type { IoTransport } from './guest.ts';
import { type IoWork, ioGuest } from './io-guest.ts';
import { startPeer } from './io-peer.ts';
import { measure, type Sample, type Session, type Side } from './measure.ts';
import { evaluate, type Results } from './results.ts';

const LIMIT_MS = 600_000;
const DISK_BYTES = 256 << 20;
const CHUNK_BYTES = 8 << 20;

export interface IoRuns {
  readonly runs: number;
  readonly permille: number;
  readonly wanted: readonly string[];
  readonly transports: readonly IoTransport[];
  say(line: string): void;
}

/** The workloads that `--only` names, all of them for `io`; undefined where it names others. */
export async function ioWorkloads(only: string): Promise<string[] | undefined> {
  const all = await allIoWorkloads();
  const names = new Set([...all, ...ioClasses.map(({ name }) => name), ...all.map((one) => one.split('/')[1])]);
  if (only === 'io') return all;
  return only.split(',').every((word) => names.has(word)) ? selectWorkloads(all, only) : undefined;
}

/** QEMU against ours for each transport. Throws HostError `bench-checksum` where two sessions differ in anything. */
export async function measureIo(image: GuestImage, given: IoRuns): Promise<Map<IoTransport, Results>> {
  const { say } = given;
  const all = await allIoWorkloads();
  const sessions = new Map(given.transports.map((transport) => [transport, noSessions()]));
  const folder = await mkdtemp(join(tmpdir(), 'kage-bench-io-'));
  const peer = await startPeer();
  const disks = new Set<string>();
  try {
    for (let run = 1; run <= given.runs; run += 1) {
      for (const [transport, of] of sessions) {
        for (const side of ['qemu', 'ours'] as const) {
          say(`network and disk by ${transport}, run ${run} of ${given.runs}: ${side}`);
          const disk = join(folder, 'disk');
          await makeDisk(disk);
          const work = { all, wanted: given.wanted, permille: given.permille, port: peer.port, disk, transport };
          of[side].push(await session(side, image, work));
          disks.add(await digestOf(disk));
        }
      }
    }
  } finally {
    peer.close();
    await rm(folder, { recursive: true, force: true });
  }
  if (disks.size !== 1) throw new HostError('bench-checksum', `the guests left ${disks.size} different disks`);
  return new Map([...sessions].map(([transport, runs]) => [transport, evaluate(runs, ioClasses)]));

  async function session(side: Side, from: GuestImage, work: IoWork): Promise<Session> {
    return await measure(side, await ioGuest(from, work), { limitMs: LIMIT_MS, onSample: tell });
  }

  function tell({ workload, iterations, seconds, cpuSeconds }: Sample): void {
    say(`  ${workload} ${seconds.toFixed(3)} s (${iterations} units, ${cpuSeconds.toFixed(3)} s of processor time)`);
  }
}

function noSessions(): Record<Side, Session[]> {
  return { qemu: [], ours: [] };
}

/** The same content each time, and nothing of it left for the host to write when the guest begins. */
export async function makeDisk(path: string): Promise<void> {
  const cipher = createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16));
  const zeros = Buffer.alloc(CHUNK_BYTES);
  const file = await open(path, 'w');
  try {
    for (let at = 0; at < DISK_BYTES; at += CHUNK_BYTES) await file.write(cipher.update(zeros));
    await file.sync();
  } finally {
    await file.close();
  }
}

async function digestOf(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}
