/**
 * What a page and its machine's worker say to each other: plain data. The page asks, the worker tells; of the
 * console, both send bytes in order. Answers to `stats` come in the order of the questions.
 */
import type { BoardStats, ExitStatus, PromotionMode } from '../machine/index.ts';

/** What the worker is to build. Addresses are absolute. */
export interface MachineRequest {
  readonly kernel: string;
  readonly initrd?: string;
  readonly drives: readonly string[];
  readonly append?: string;
  readonly cpu?: string;
  readonly cpus: number;
  readonly memoryBytes?: number;
  readonly codeMemoryBytes?: number;
  readonly translate?: boolean;
  readonly hotThreshold?: number;
  readonly promotion?: PromotionMode;
  /** Harts on workers over shared memory; else one hart, on the machine's own worker. */
  readonly shared: boolean;
}

export type ToMachine =
  | { readonly kind: 'start'; readonly request: MachineRequest }
  | { readonly kind: 'console'; readonly bytes: Uint8Array }
  | { readonly kind: 'pause' | 'resume' | 'kill' | 'stats' };

/** How far a machine is that is being started. `totalBytes` is not known where the server does not say. */
export type Progress =
  | {
      readonly step: 'fetch';
      readonly what: 'kernel' | 'initrd' | 'drive';
      readonly doneBytes: number;
      readonly totalBytes?: number;
    }
  | { readonly step: 'engine' | 'boot' };

/** An error on its way from a worker; `fix` where it is the operator's to put right. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly fix?: string;
}

export type FromMachine =
  | { readonly kind: 'progress'; readonly progress: Progress }
  | { readonly kind: 'started' }
  | { readonly kind: 'failed'; readonly failure: Failure }
  | { readonly kind: 'console'; readonly bytes: Uint8Array }
  | { readonly kind: 'stats'; readonly stats: BoardStats }
  | { readonly kind: 'exited'; readonly status: ExitStatus };
