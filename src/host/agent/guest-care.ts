/**
 * What a host does for one guest through its agent, whichever answers: it has the guest's heart beat and judges it, has its
 * health checked, and quiesces it. No I/O and no clock of its own. Twins and restored guests each have one of their own.
 *
 *   agents --beats | pings--> Heartbeat --,
 *          --checks---------> HealthMonitor --> events, report
 */
import { HostError, OperatorError } from '../../base/errors.ts';
import { type AgentEvent, AgentEvents } from './agent-events.ts';
import type { AgentKind, Frozen, GuestAgent } from './guest-agent.ts';
import { HealthMonitor, type HealthOptions, type HealthReport } from './health.ts';
import { Heartbeat, type HeartbeatReport } from './heartbeat.ts';
import { type HeartClock, PausableClock } from './pausable-clock.ts';

export interface CareOptions {
  /** Those that may answer, the preferred one first. */
  readonly agents: readonly GuestAgent[];
  readonly clock: HeartClock;
  /** Whether the guest stands still, for whatever reason: it is not to be blamed for it. */
  readonly standsStill: () => boolean;
  readonly wallMs: () => number;
  readonly heartbeatMs?: number;
  readonly health?: HealthOptions;
}

export interface AgentReport {
  /** Which one the guest has, or had last; undefined until one has answered. */
  readonly kind?: AgentKind;
  readonly version?: string;
  readonly heartbeat: HeartbeatReport;
}

/** A day. */
const MOST_INTERVAL_MS = 86_400_000;
const LEAST_INTERVAL_MS = 10;
/** How long a guest may take to freeze, and stay frozen. */
export const QUIESCE_MS = 60_000;
const THAW_MS = 15_000;

/** Throws OperatorError `bad-heartbeat` where no heart could beat like this. */
export function checkHeartbeat(intervalMs: number): void {
  if (intervalMs === 0) return;
  if (Number.isSafeInteger(intervalMs) && intervalMs >= LEAST_INTERVAL_MS && intervalMs <= MOST_INTERVAL_MS) return;
  const fix = 'Give a time, 500ms or 5s, or 0 for none';
  throw new OperatorError('bad-heartbeat', `${intervalMs} ms from beat to beat are not within 10 ms and a day`, fix);
}

export class GuestCare {
  readonly #options: CareOptions;
  readonly #clock: PausableClock;
  readonly #heartbeat: Heartbeat;
  readonly #health: HealthMonitor | undefined;
  readonly #events: AgentEvents;
  readonly #closing = new AbortController();
  #current: GuestAgent | undefined;
  #cancelPing: (() => void) | undefined;
  #pings = 0;
  #isPaused = false;
  #isOverdue = false;
  /** Of the last quiescing, whether another may begin. */
  #quiescing: Promise<unknown> = Promise.resolve();

  constructor(options: CareOptions) {
    const { agents, clock, wallMs, health, heartbeatMs = 0 } = options;
    checkHeartbeat(heartbeatMs);
    this.#options = options;
    this.#clock = new PausableClock(patient(clock, options.standsStill));
    this.#events = new AgentEvents(clock, wallMs);
    this.#heartbeat = new Heartbeat(this.#clock, (to, from) => this.#events.push('heartbeat', from, to));
    if (health !== undefined)
      this.#health = new HealthMonitor(health, {
        clock: this.#clock,
        wallMs,
        run: async (argv, say, signal) =>
          (await (await this.agent(signal)).execute(argv, { onStdout: say, onStderr: say, signal })).code,
        changed: (to, from) => {
          this.#events.push('health', from, to);
          for (const agent of agents) agent.tellHealth(to);
        },
      });
    if (heartbeatMs > 0) this.setHeartbeat(heartbeatMs);
    for (const agent of agents) agent.onPresence = () => this.#answered();
  }

  /** The agent that there is: the preferred one of those that have answered, or the first that does. */
  async agent(signal?: AbortSignal): Promise<GuestAgent> {
    const { agents } = this.#options;
    const there = agents.find((agent) => agent.hasAnswered);
    if (there !== undefined) return there;
    // Whoever waits no more is not to leave the others waiting.
    const over = new AbortController();
    const either = signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]);
    try {
      return await Promise.race(agents.map(async (agent) => agent.ready(either).then(() => agent)));
    } finally {
      over.abort(new HostError('agent-not-needed', 'another agent has answered'));
    }
  }

  report(): AgentReport {
    const kind = this.#current?.kind;
    const version = this.#current?.version;
    return {
      ...(kind === undefined ? {} : { kind }),
      ...(version === undefined ? {} : { version }),
      heartbeat: this.#heartbeat.report(),
    };
  }

  /** Undefined where nobody asked for checks. */
  health(): HealthReport | undefined {
    return this.#health?.report();
  }

  /** Those behind the one of that number; if there are none, as soon as there is one, or after `waitMs`. */
  async events(since: number, waitMs: number, signal?: AbortSignal): Promise<readonly AgentEvent[]> {
    return await this.#events.since(since, waitMs, signal);
  }

  /** From one beat to the next from now on; 0: none. Throws OperatorError `bad-heartbeat`. */
  setHeartbeat(intervalMs: number): void {
    checkHeartbeat(intervalMs);
    this.#heartbeat.set(intervalMs);
    for (const agent of this.#options.agents) agent.beat(intervalMs, (beat) => this.#heartbeat.heard(beat));
    this.#cancelPing?.();
    if (intervalMs > 0) this.#pingLater(intervalMs);
  }

  /** The machine is paused, or goes on: what is to happen within a time waits meanwhile. Said twice it is one pause. */
  setPaused(paused: boolean): void {
    if (this.#isPaused === paused) return;
    this.#isPaused = paused;
    if (paused) this.#clock.pause();
    else this.#clock.resume();
  }

  /** The same because the machine's deadline has passed, whatever else pauses it. */
  setOverdue(overdue: boolean): void {
    if (this.#isOverdue === overdue) return;
    this.#isOverdue = overdue;
    if (overdue) this.#clock.pause();
    else this.#clock.resume();
  }

  /** The machine stands still while `act` lasts. */
  async during<T>(act: () => Promise<T>): Promise<T> {
    this.#clock.pause();
    try {
      return await act();
    } finally {
      this.#clock.resume();
    }
  }

  /**
   * Does `act` while the guest's file systems are frozen, and thaws them, whatever becomes of it. `act` calls what it is
   * given at the moment that counts, which throws if the guest may have thawed by then. OperatorError `not-quiesced`.
   */
  async quiesced<T>(act: (check: () => void) => Promise<T>): Promise<{ readonly result: T; readonly frozen: Frozen }> {
    const turn = this.#quiescing.then(async () => await this.#quiesce(act));
    this.#quiescing = turn.catch(() => undefined);
    return await turn;
  }

  close(): void {
    this.#closing.abort(new HostError('agent-closed', 'the machine has ended'));
    this.#cancelPing?.();
    this.#health?.close();
    this.#heartbeat.set(0);
    this.#events.close();
  }

  async #quiesce<T>(act: (check: () => void) => Promise<T>): Promise<{ readonly result: T; readonly frozen: Frozen }> {
    const { clock } = this.#options;
    // Checks of health would wait for disks.
    this.#clock.pause();
    const limit = new AbortController();
    const cancel = clock.after(QUIESCE_MS, () => limit.abort(new Error(`the guest did not within ${QUIESCE_MS} ms`)));
    try {
      const since = clock.nowMs();
      const agent = await this.agent(AbortSignal.any([limit.signal, this.#closing.signal])).catch(notQuiesced);
      const frozen = await agent.freeze(QUIESCE_MS, limit.signal).catch(notQuiesced);
      cancel();
      this.#events.push('freeze', 'thawed', 'frozen');
      try {
        const result = await act(() => {
          // The guest counts from when it was asked, or later: until then it is frozen if it did not say otherwise.
          if (!agent.isFrozen || clock.nowMs() - since > QUIESCE_MS)
            notQuiesced(new Error('it thawed before its time'));
        });
        return { result, frozen };
      } finally {
        const late = new AbortController();
        const cancelThaw = clock.after(THAW_MS, () => late.abort(new Error('it does not answer')));
        // Who does not answer thaws by itself, or has ended.
        await agent.thaw(AbortSignal.any([late.signal, this.#closing.signal])).catch(() => undefined);
        cancelThaw();
        this.#events.push('freeze', 'frozen', 'thawed');
      }
    } finally {
      cancel();
      this.#clock.resume();
    }
  }

  #answered(): void {
    const best = this.#options.agents.find((agent) => agent.hasAnswered);
    if (best === undefined || best === this.#current) return;
    this.#events.push('agent', this.#current?.kind ?? 'none', best.kind);
    this.#current = best;
    if (this.#health === undefined) return;
    best.tellHealth(this.#health.report().status);
    this.#health.begin();
  }

  /** For agents that do not beat by themselves. */
  #pingLater(intervalMs: number): void {
    this.#cancelPing = this.#clock.after(intervalMs, () => {
      this.#pingLater(intervalMs);
      const agent = this.#options.agents.find((one) => one.hasAnswered);
      if (agent === undefined || agent.beatsByItself) return;
      agent.ping(this.#closing.signal).then(
        () => {
          this.#pings += 1;
          this.#heartbeat.heard({ sequence: this.#pings });
        },
        () => undefined, // one that does not answer is late, then silent
      );
    });
  }
}

/** Alarms that wait until the guest can do something about them. */
function patient(clock: HeartClock, standsStill: () => boolean): HeartClock {
  return {
    nowMs: () => clock.nowMs(),
    after: (delayMs, callback) => {
      let cancel = (): void => {};
      const arm = (): void => {
        cancel = clock.after(delayMs, () => (standsStill() ? arm() : callback()));
      };
      arm();
      return () => cancel();
    },
  };
}

function notQuiesced(cause: unknown): never {
  const why = cause instanceof Error ? cause.message : String(cause);
  const fix = 'Leave out --quiesce, or see to the agent: "kage agent status NAME"';
  throw new OperatorError('not-quiesced', `the guest was not quiesced: ${why}`, fix, { cause });
}
