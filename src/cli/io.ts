/** What a command of `kage` gets from its surroundings; tests give it streams and a platform of their own. */
import type { Readable, Writable } from 'node:stream';
import type {
  BuildOptions,
  CreateMachine,
  DemoOptions,
  DemoServer,
  DetachedProgram,
  GuestImage,
  PulledName,
  ReceiveMachine,
  RestoreMachine,
  WorkOptions,
} from '../host/index.ts';

export interface TerminalInput extends Readable {
  readonly isTTY?: boolean;
  setRawMode?(raw: boolean): unknown;
}

export interface TerminalOutput extends Writable {
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface Io {
  readonly stdin: TerminalInput;
  readonly stdout: TerminalOutput;
  readonly stderr: TerminalOutput;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Aborts when this process is told to end. */
  readonly signal: AbortSignal;
  /** Has hang-ups (SIGHUP) call `listener`, in place of ending this process; returns its removal. */
  onHangUp?(listener: () => void): () => void;
}

/** What the verbs act upon. */
export interface Platform {
  readonly createMachine: CreateMachine;
  readonly restoreMachine: RestoreMachine;
  readonly receiveMachine: ReceiveMachine;
  /** The program that owns a detached machine. */
  readonly program: DetachedProgram;
  /** A folder with the files of the daemon's console; undefined where there is none. */
  readonly consolePages?: string;
  /** Serves the demo page. */
  startDemo(options: DemoOptions): Promise<DemoServer>;
  readonly images: {
    pull(name: PulledName, options: WorkOptions & { refresh?: boolean }): Promise<GuestImage>;
    build(options: BuildOptions): Promise<GuestImage>;
    find(name: string): Promise<GuestImage | undefined>;
    list(): Promise<GuestImage[]>;
    remove(name: string, options: { signal?: AbortSignal }): Promise<boolean>;
  };
}

/** Our own exit code for whatever is the platform's fault or the operator's, as docker has it. */
export const platformFailure = 125;
