/**
 * A machine as its snapshot has it, on the way to being one again: opened, its options known; its disks filled; its
 * board's blocks loaded; then its memory, while its threads get ready.
 */
import { must } from '../../base/assert.ts';
import { OperatorError } from '../../base/errors.ts';
import {
  type Board,
  checkLayouts,
  damaged,
  extensionsOf,
  type IoThread,
  type ProtectionChange,
  restoreBoard,
  resumeBoard,
} from '../../machine/index.ts';
import type { UserNetwork } from '../../network/index.ts';
import type { OpenedDrive } from '../machine/drives.ts';
import type { MachineOptions, RestoreOptions } from '../machine/machine-api.ts';
import { isRefusal, type OpenShare } from '../shares/index.ts';
import type { SnapshotState } from './contents.ts';
import { SnapshotFile } from './snapshot-file.ts';

export class SavedMachine {
  /** The machine's options, as they are to be now. */
  readonly options: MachineOptions;
  /** What the console had said lately. */
  readonly console: Uint8Array;
  readonly #file: SnapshotFile;
  readonly #state: SnapshotState;
  #memory: Promise<void> | undefined;

  /** Throws OperatorError. The file stays open until `close`. */
  static open(path: string, options: RestoreOptions = {}): SavedMachine {
    const file = SnapshotFile.open(path);
    try {
      return new SavedMachine(file, options);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  private constructor(file: SnapshotFile, options: RestoreOptions) {
    const { head } = file;
    if (head.xlen !== 64 || head.harts !== head.options.cpus)
      throw otherMachine(file.path, `${head.harts} harts of ${head.xlen} bits`);
    const extensions = [...extensionsOf(head.options)].sort();
    const other = [...new Set([...extensions, ...head.extensions])].find(
      (name) => extensions.includes(name) !== head.extensions.includes(name),
    );
    if (other !== undefined)
      throw otherMachine(file.path, `harts ${head.extensions.includes(other) ? 'with' : 'without'} ${other}`);
    const { state, console } = file.readState();
    this.#file = file;
    this.#state = state;
    this.console = console;
    checkShares(head.options.shares, options.shares);
    this.options = { ...head.options, name: head.name, ...options };
  }

  /** Resolves when nothing is read any more. */
  async close(): Promise<void> {
    await this.#memory?.catch(() => {});
    this.#file.close();
  }

  /** The clock's ticks when the machine stood still: its time goes on from there. */
  get ticks(): bigint {
    return this.#state.ticks;
  }

  get agent(): SnapshotState['agent'] {
    return this.#state.agent;
  }

  /** Checks the disks, and puts what the guest wrote where it belongs. Before `load`. */
  async fillDisks(drives: readonly OpenedDrive[]): Promise<void> {
    await this.#file.readDisks(drives);
  }

  /** What the guest had open in shared folders, it has open again, as far as that is there. Before `loadMemory`. */
  async fillShares(shares: readonly OpenShare[]): Promise<void> {
    const saved = this.#state.shares ?? [];
    if (saved.length !== shares.length) throw damaged(this.#file.path, 'is damaged: its shares do not fit together');
    try {
      for (const [i, share] of shares.entries()) await share.restore(must(saved[i]));
    } catch (error) {
      if (!isRefusal(error)) throw error;
      throw damaged(this.#file.path, 'is damaged, or too many files are open: a share makes no sense');
    }
  }

  /** Begins to read the memory of a board that has not run yet, which goes on meanwhile: see `loadMemory`. Behind `fillDisks`. */
  readMemory(board: Board): void {
    this.#memory = this.#file.readMemory(board);
    this.#memory.catch(() => {}); // whoever waits for it is told
  }

  /** The blocks of a board that has not run yet, and its network. It may be scheduled behind this, while it is held. */
  loadState(board: Board, network: UserNetwork | undefined): void {
    const { path, head } = this.#file;
    checkLayouts(board, head.layouts, path);
    restoreBoard(board, this.#state.board, path);
    if (network !== undefined && this.#state.network !== undefined) network.restore(this.#state.network);
  }

  /** When all of that has come, what there was under way is taken up: it may run. Nothing reaches the guest before. */
  async loadMemory(board: Board, io: IoThread): Promise<void> {
    await must(this.#memory, 'its memory is to be read first');
    io.writeConsole(this.#state.input);
    resumeBoard(board);
  }

  /** What was denied to the guest's domains is to be denied again, before it runs. */
  async denyAgain(deny: (change: ProtectionChange) => Promise<void>): Promise<void> {
    try {
      for (const { domain, start, end, denied: rights } of this.#state.rules)
        await deny({ action: 'deny', domains: [domain], start: Number(start), end: Number(end), rights });
    } catch (error) {
      if (!(error instanceof OperatorError)) throw error;
      throw damaged(this.#file.path, `is damaged: of its protection rules, ${error.message}`);
    }
  }
}

/** The guest knows its folders by where it has them. Throws OperatorError `share-changed`. */
function checkShares(was: MachineOptions['shares'] = [], asked: MachineOptions['shares']): void {
  if (asked === undefined) return;
  const text = (shares: typeof was): string =>
    shares.map(({ guest, readOnly }) => (readOnly ? `${guest}:ro` : guest)).join(', ') || 'none';
  if (text(was) === text(asked)) return;
  throw new OperatorError(
    'share-changed',
    `the saved guest has other shared folders: ${text(was)}, not ${text(asked)}`,
    'Give -v HOST:GUEST for each of those, in that order, or none at all.',
  );
}

function otherMachine(path: string, what: string): OperatorError {
  return new OperatorError(
    'snapshot-other-machine',
    `the snapshot ${path} is of a machine of another kind: ${what}`,
    'Restore it with the kage that took it.',
  );
}
