/**
 * Takes a snapshot of a machine that runs: it stands still while its state and memory are written, then goes on. The
 * file gets its name afterwards, when it is on the medium. Whatever fails, the machine goes on and nothing is left.
 *
 * An increment (`base`) holds the pages that differ from the base's, byte by byte: the base is read and compared while
 * the machine stands still. (Tracking writes would cost the guest time all along; the comparison costs 0.1 s for each
 * 100 MiB that the base holds; measured: bench/restore.ts.)
 */
import { randomUUID } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { OperatorError } from '../../base/errors.ts';
import {
  type BasePages,
  type Board,
  CHUNK,
  extensionsOf,
  type IoThread,
  layoutDigests,
  noBase,
  pageChunks,
  protectionReport,
  saveBoard,
} from '../../machine/index.ts';
import type { UserNetwork } from '../../network/index.ts';
import type { OpenedDrive } from '../machine/drives.ts';
import type { MachineOptions, SnapshotOptions, SnapshotResult } from '../machine/machine-api.ts';
import { version } from '../package-files.ts';
import { absoluteShares, type OpenShare } from '../shares/index.ts';
import type { SnapshotHead, SnapshotState } from './contents.ts';
import { absoluteDrives, describeDrives, writeDisks } from './disks.ts';
import { holdStill } from './hold-still.ts';
import { SnapshotFile } from './snapshot-file.ts';
import { SnapshotWriter } from './snapshot-writer.ts';

/** What a snapshot is taken of. */
export interface SnapshotSubject {
  readonly name: string;
  readonly options: MachineOptions;
  readonly board: Board;
  readonly io: IoThread;
  readonly network: UserNetwork | undefined;
  readonly drives: readonly OpenedDrive[];
  readonly shares: readonly OpenShare[];
  /** The machine's clock. */
  ticks(): number;
  /** The agent's conversation: number of the next command, and what the guest has not been given yet. */
  agent(): { readonly nextId: number; readonly waiting: readonly Uint8Array[] };
  /** What the console said lately. */
  console(): Uint8Array;
}

export async function takeSnapshot(
  subject: SnapshotSubject,
  path: string,
  options: SnapshotOptions & { readonly lasts?: boolean; readonly stands?: () => void } = {},
): Promise<SnapshotResult> {
  const base = options.base === undefined ? undefined : openBase(subject, path, options.base);
  try {
    const writer = await SnapshotWriter.create(path, { compress: options.compress ?? true });
    try {
      const result = await write(subject, writer, path, base, options);
      await writer.commit({ lasts: options.lasts ?? true });
      return { file: path, sizeBytes: writer.sizeBytes, ...result };
    } catch (error) {
      // One that was to end with it goes on instead.
      if (options.stop) subject.board.world.setHeld(false);
      await writer.abandon();
      throw error;
    }
  } finally {
    base?.close();
  }
}

async function write(
  subject: SnapshotSubject,
  writer: SnapshotWriter,
  path: string,
  base: SnapshotFile | undefined,
  { stop: isLast = false, stands }: { readonly stop?: boolean; readonly stands?: () => void },
): Promise<Omit<SnapshotResult, 'file' | 'sizeBytes'>> {
  const { board, io } = subject;
  const since = performance.now();
  const release = await holdStill(board, io);
  try {
    stands?.();
    await Promise.all(subject.drives.map((drive) => drive.backend.flush()));
    const drives = await describeDrives(subject.drives);
    // From here to the end of the state nothing is awaited: what comes in from outside comes before or after.
    const head = headOf(subject, path, drives, base);
    const state = stateOf(subject);
    const console = subject.console();
    await writer.json(CHUNK.head, head);
    await writer.json(CHUNK.state, state);
    await writer.chunk(CHUNK.console, new Uint8Array(0), console);
    const clusters = await writeDisks(writer, subject.drives);
    const pages = await writeMemory(board, writer, base);
    await writer.end({ pages, clusters });
    return { id: head.id, pages, pausedMs: performance.now() - since };
  } finally {
    // The last thing that this machine did is its snapshot.
    if (!isLast) release();
    else io.release();
  }
}

async function writeMemory(board: Board, writer: SnapshotWriter, base: SnapshotFile | undefined): Promise<number> {
  let known: BasePages | undefined;
  if (base !== undefined) {
    known = noBase(board);
    base.compare(board, known);
  }
  let count = 0;
  for (const { meta, pages } of pageChunks(board, known)) {
    count += pages.length;
    const data = new Uint8Array(pages.length * 4096);
    for (const [i, page] of pages.entries()) data.set(page, i * 4096);
    await writer.chunk(CHUNK.pages, meta, data);
  }
  return count;
}

/** What a machine is, for one that is to be the same. */
export function describeMachine(
  { name, options, board }: SnapshotSubject,
  drives: SnapshotHead['drives'],
): Omit<SnapshotHead, 'base'> {
  // What belongs to this process alone: who may end it, who debugs it, what it logs, until when it may run.
  const {
    name: _,
    signal: __,
    gdbPort: ___,
    startPaused: ____,
    trapLog: _____,
    protectionLog: ______,
    lease: _______,
    ...kept
  } = options;
  const files = absoluteDrives(options.drives);
  const shares = absoluteShares(options.shares);
  return {
    id: randomUUID(),
    createdAt: new Date().toISOString(),
    program: version(),
    name,
    xlen: 64,
    harts: board.config.harts,
    options: {
      ...kept,
      cpus: board.config.harts,
      memoryBytes: board.config.memoryBytes,
      ...(files === undefined ? {} : { drives: files }),
      ...(shares === undefined ? {} : { shares }),
    },
    extensions: [...extensionsOf(options)].sort(),
    layouts: layoutDigests(board),
    drives,
  };
}

function headOf(
  subject: SnapshotSubject,
  path: string,
  drives: SnapshotHead['drives'],
  base: SnapshotFile | undefined,
): SnapshotHead {
  return {
    ...describeMachine(subject, drives),
    ...(base === undefined ? {} : { base: { id: base.head.id, path: relative(dirname(resolve(path)), base.path) } }),
  };
}

/** As JSON has it: bytes are base64, ticks are digits. The machine stands still. */
export function stateOf({ board, io, network, shares, ticks, agent }: SnapshotSubject): {
  readonly [K in keyof SnapshotState]: unknown;
} {
  const { nextId, waiting } = agent();
  return {
    ticks: `${Math.ceil(ticks())}`,
    board: saveBoard(board),
    ...(network === undefined ? {} : { network: network.save() }),
    ...(shares.length === 0 ? {} : { shares: shares.map((share) => share.save()) }),
    agent: { nextId, waiting: Buffer.concat(waiting).toString('base64') },
    input: Buffer.concat(io.waitingInput).toString('base64'),
    rules: board.protection === undefined ? [] : protectionReport(board).rules,
  };
}

/** Of this machine, or of one that it was restored from. Throws OperatorError. */
function openBase({ board }: SnapshotSubject, path: string, basePath: string): SnapshotFile {
  const base = SnapshotFile.open(resolve(basePath));
  const { memoryBytes } = base.head.options;
  const wrong =
    memoryBytes !== board.config.memoryBytes
      ? `is of a machine with ${memoryBytes} bytes of memory`
      : isSameFile(path, base.path)
        ? 'would be replaced by its own increment'
        : undefined;
  if (wrong === undefined) return base;
  base.close();
  throw new OperatorError(
    'snapshot-base',
    `${basePath} cannot be the base: it ${wrong}`,
    'Name another snapshot of this machine with --base.',
  );
}

function isSameFile(a: string, b: string): boolean {
  try {
    return realpathSync(a) === realpathSync(b);
  } catch {
    return false;
  }
}
