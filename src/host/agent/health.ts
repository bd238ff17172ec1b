/**
 * The health of what runs in a guest, by a command of the user's choice that is run there now and then: docker's
 * HEALTHCHECK, with its words, its defaults and its rules. It begins when the agent has answered for the first time (a
 * guest that boots is not ill); its start period too.
 *
 *   starting --exit 0--> healthy --`retries` failures in a row--> unhealthy --exit 0--> healthy
 *       '--------------- `retries` failures behind the start period ---^
 */
import { OperatorError } from '../../base/errors.ts';
import type { HeartClock } from './pausable-clock.ts';

export interface HealthOptions {
  /** For /bin/sh in the guest; or a program and its words. Exit code 0 means healthy. */
  readonly command: string | readonly string[];
  /** From the end of a check to the next one. Default 30 s. */
  readonly intervalMs?: number;
  /** A check that takes longer is ended and has failed. Default 30 s. */
  readonly timeoutMs?: number;
  /** So many failures in a row make it unhealthy. Default 3. */
  readonly retries?: number;
  /** Failures within so long after the agent's first answer are not counted. Default 0. */
  readonly startPeriodMs?: number;
  /** The interval within the start period. Default 5 s. */
  readonly startIntervalMs?: number;
}

export type HealthStatus = 'starting' | 'healthy' | 'unhealthy';

export interface HealthCheck {
  /** ISO 8601. */
  readonly start: string;
  readonly end: string;
  /** -1: it was ended, or could not be run. */
  readonly exitCode: number;
  /** What it said, at most 4096 bytes of it. */
  readonly output: string;
}

export interface HealthReport {
  readonly status: HealthStatus;
  /** Failures in a row, up to now. */
  readonly failingStreak: number;
  /** The last five checks, the latest last. */
  readonly log: readonly HealthCheck[];
}

export interface HealthPorts {
  /** Stands still with the machine. */
  readonly clock: HeartClock;
  readonly wallMs: () => number;
  /** Runs the command in the guest to its end, and gives its exit code; `say` takes what it says. */
  run(argv: readonly string[], say: (bytes: Uint8Array) => void, signal: AbortSignal): Promise<number>;
  changed(status: HealthStatus, before: HealthStatus): void;
}

const DEFAULTS = {
  intervalMs: 30_000,
  timeoutMs: 30_000,
  retries: 3,
  startPeriodMs: 0,
  startIntervalMs: 5000,
} as const;
const LOG_LENGTH = 5;
const OUTPUT_BYTES = 4096;
const DAY_MS = 86_400_000;

/** Throws OperatorError `bad-health` where no guest could be checked like this. */
export function checkHealthOptions(options: HealthOptions): void {
  const { command, retries = DEFAULTS.retries } = options;
  const bad = (what: string, fix: string): OperatorError => new OperatorError('bad-health', what, fix);
  if (command.length === 0 || command[0] === '')
    throw bad('the health command has no words', 'Write --health-cmd COMMAND');
  for (const name of ['intervalMs', 'timeoutMs', 'startPeriodMs', 'startIntervalMs'] as const) {
    const value = options[name] ?? DEFAULTS[name];
    const least = name === 'startPeriodMs' ? 0 : 1;
    if (!Number.isFinite(value) || value < least || value > DAY_MS)
      throw bad(`health ${name} is not within ${least} ms and a day`, 'Give a time: 500ms, 30s, 2m');
  }
  if (!Number.isSafeInteger(retries) || retries < 1 || retries > 1000)
    throw bad('health retries are not within 1 and 1000', 'Give a number of failures in a row');
}

export class HealthMonitor {
  readonly #options: Required<HealthOptions>;
  readonly #ports: HealthPorts;
  #status: HealthStatus = 'starting';
  #failingStreak = 0;
  #log: readonly HealthCheck[] = [];
  #countsFromMs: number | undefined;
  #cancel: (() => void) | undefined;
  #check: AbortController | undefined;
  #isClosed = false;

  constructor(options: HealthOptions, ports: HealthPorts) {
    checkHealthOptions(options);
    this.#options = { ...DEFAULTS, ...options };
    this.#ports = ports;
  }

  /** The agent has answered. Later calls do nothing. */
  begin(): void {
    if (this.#countsFromMs !== undefined || this.#isClosed) return;
    this.#countsFromMs = this.#ports.clock.nowMs() + this.#options.startPeriodMs;
    this.#next();
  }

  report(): HealthReport {
    return { status: this.#status, failingStreak: this.#failingStreak, log: this.#log };
  }

  /** Ends a check that is under way, and all others. */
  close(): void {
    this.#isClosed = true;
    this.#cancel?.();
    this.#check?.abort(new Error('the machine has ended'));
  }

  get #isStarting(): boolean {
    return this.#status === 'starting' && this.#ports.clock.nowMs() < (this.#countsFromMs ?? 0);
  }

  #next(): void {
    if (this.#isClosed) return;
    const delayMs = this.#isStarting ? this.#options.startIntervalMs : this.#options.intervalMs;
    this.#cancel = this.#ports.clock.after(delayMs, () => void this.#probe().then(() => this.#next()));
  }

  /** Never rejects. */
  async #probe(): Promise<void> {
    const { clock, wallMs, run } = this.#ports;
    const { command, timeoutMs } = this.#options;
    const wasStarting = this.#isStarting;
    const said = new Said();
    const start = wallMs();
    const check = new AbortController();
    this.#check = check;
    const cancel = clock.after(timeoutMs, () => check.abort(new Error(`the check took longer than ${timeoutMs} ms`)));
    const argv = typeof command === 'string' ? ['/bin/sh', '-c', command] : command;
    let exitCode = -1;
    try {
      exitCode = await run(argv, (bytes) => said.push(bytes), check.signal);
    } catch (error) {
      said.push(Buffer.from(error instanceof Error ? error.message : String(error)));
    }
    cancel();
    this.#check = undefined;
    if (this.#isClosed) return;
    const times = { start: new Date(start).toISOString(), end: new Date(wallMs()).toISOString() };
    this.#log = [...this.#log, { ...times, exitCode, output: said.text }].slice(-LOG_LENGTH);
    this.#judge(exitCode === 0, wasStarting);
  }

  #judge(isWell: boolean, wasStarting: boolean): void {
    const before = this.#status;
    if (isWell) {
      this.#failingStreak = 0;
      this.#status = 'healthy';
    } else if (!wasStarting) {
      this.#failingStreak += 1;
      if (this.#failingStreak >= this.#options.retries) this.#status = 'unhealthy';
    }
    if (this.#status !== before) this.#ports.changed(this.#status, before);
  }
}

/** The first bytes of what a command says. */
class Said {
  #parts: Uint8Array[] = [];
  #bytes = 0;

  push(bytes: Uint8Array): void {
    const part = bytes.slice(0, OUTPUT_BYTES - this.#bytes);
    this.#bytes += part.length;
    this.#parts.push(part);
  }

  get text(): string {
    return Buffer.concat(this.#parts).toString('utf8');
  }
}
