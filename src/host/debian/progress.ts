/** What a long preparation tells its caller while it runs; the CLI draws it, others may ignore it. */
export interface Progress {
  /** What is being done, for people: `fetching linux-image-6.12-riscv64`. */
  step: string;
  /** How much of `total` is done, in the step's own unit (bytes, files); 0 of 0 where that is not known. */
  done: number;
  total: number;
}
export type ProgressListener = (progress: Progress) => void;

/** The options that every long preparation takes. */
export interface WorkOptions {
  signal?: AbortSignal;
  progress?: ProgressListener;
}
