/**
 * The cluster's store in etcd. Its own leases are not used: etcd 3.4 revokes some that are still renewed after its leader
 * was stopped and went on; ours are keys that their holders rewrite (src/cluster/lease).
 *
 *   read     one member at first, another when that one is silent for a part of the time; the first answer counts. Each
 *            is linearizable: a member without quorum cannot give one.
 *   commit   one member only. Where nothing was sent it is tried at the next; all else that is no answer is `unknown`:
 *            a transaction that timed out has been seen to commit nine seconds later.
 *   watch    one member, until it ends, or until that member leaves a request without an answer.
 */
import {
  type ClusterStore,
  type CommitOutcome,
  MOST_OPERATIONS,
  type Query,
  type ReadOutcome,
  type StoreEntry,
  type Transaction,
  type Watch,
  type WatchEvent,
} from '../../cluster/index.ts';
import { type EtcdAnswer, EtcdEndpoint, type EtcdTls } from './etcd-endpoint.ts';
import {
  commitAnswer,
  commitRequest,
  type RangeRequest,
  rangesOf,
  readAnswer,
  readRequest,
  watchEvents,
  watchRequest,
} from './etcd-wire.ts';

/** The part of a read's time that one member has to itself. */
const TURN = 0.35;

interface OpenWatch {
  readonly endpoint: EtcdEndpoint;
  lose(reason: string): void;
}

export interface EtcdCounters {
  requests: number;
  /** Requests that another member was asked, too. */
  hedged: number;
  silent: number;
  unknown: number;
}

export class EtcdStore implements ClusterStore {
  readonly counters: EtcdCounters = { requests: 0, hedged: 0, silent: 0, unknown: 0 };
  /** The best one first: who was silent goes to the end. */
  #endpoints: readonly EtcdEndpoint[];
  readonly #watches = new Set<OpenWatch>();

  /** `urls`: of members' client ports, `http://10.0.0.1:2379`. */
  constructor(urls: readonly string[], tls: EtcdTls = {}) {
    this.#endpoints = urls.map((url) => new EtcdEndpoint(url, tls));
  }

  read(query: Query, deadlineMs: number, done: (outcome: ReadOutcome) => void): void {
    const ranges = rangesOf(query);
    const end = performance.now() + deadlineMs;
    const entries: StoreEntry[] = [];
    const next = (from: number, revision: number | undefined): void => {
      const part = ranges.slice(from, from + MOST_OPERATIONS);
      this.#readPart(part, revision, end - performance.now(), (outcome) => {
        if (outcome.kind === 'failed') {
          done(outcome);
          return;
        }
        entries.push(...outcome.entries);
        // All parts are of the first one's revision.
        const at = revision ?? outcome.revision;
        if (from + MOST_OPERATIONS < ranges.length) next(from + MOST_OPERATIONS, at);
        else done({ kind: 'read', revision: at, entries });
      });
    };
    next(0, undefined);
  }

  commit(transaction: Transaction, deadlineMs: number, done: (outcome: CommitOutcome) => void): void {
    const end = performance.now() + deadlineMs;
    const body = commitRequest(transaction);
    const attempt = (left: readonly EtcdEndpoint[], reason: string): void => {
      const [endpoint, ...others] = left;
      const withinMs = end - performance.now();
      if (endpoint === undefined || withinMs <= 0) {
        // Nothing was ever sent; but who asks must not conclude from it that nothing was changed by others.
        this.#unknown(reason, done);
        return;
      }
      this.#post(endpoint, '/v3/kv/txn', body, withinMs, (answer) => {
        if (answer.kind === 'unreachable') attempt(others, answer.reason);
        else if (answer.kind !== 'answer') this.#unknown(answer.reason, done);
        else done(commitOutcome(answer.body));
      });
    };
    attempt(this.#endpoints, 'no member');
  }

  watch(prefix: string, revision: number, on: (event: WatchEvent) => void): Watch {
    const [endpoint] = this.#endpoints;
    let stop = (): void => undefined;
    let isOver = false;
    const open: OpenWatch | undefined = endpoint && {
      endpoint,
      lose: (reason) => {
        if (isOver) return;
        isOver = true;
        stop();
        if (open !== undefined) this.#watches.delete(open);
        on({ kind: 'lost', reason });
      },
    };
    if (endpoint === undefined || open === undefined) {
      setImmediate(() => on({ kind: 'lost', reason: 'no member' }));
      return { cancel: () => undefined };
    }
    this.#watches.add(open);
    const hear = (line: unknown): void => {
      for (const event of eventsOf(line)) {
        if (isOver) return;
        if (event.kind === 'lost') open.lose(event.reason);
        else on(event);
      }
    };
    stop = endpoint.stream('/v3/watch', watchRequest(prefix, revision), hear, open.lose);
    return {
      cancel: () => {
        isOver = true;
        this.#watches.delete(open);
        stop();
      },
    };
  }

  close(): void {
    for (const { lose } of [...this.#watches]) lose('closed');
    for (const endpoint of this.#endpoints) endpoint.close();
  }

  #readPart(
    ranges: readonly RangeRequest[],
    revision: number | undefined,
    withinMs: number,
    done: (outcome: ReadOutcome) => void,
  ): void {
    const end = performance.now() + withinMs;
    const body = readRequest(ranges, revision);
    const waiting = [...this.#endpoints];
    let asked = 0;
    let isOver = false;
    let turn: NodeJS.Timeout | undefined;
    const finish = (outcome: ReadOutcome): void => {
      isOver = true;
      clearTimeout(turn);
      done(outcome);
    };
    const ask = (reason: string): void => {
      clearTimeout(turn);
      const endpoint = waiting.shift();
      const leftMs = end - performance.now();
      if (endpoint === undefined || leftMs <= 0) {
        if (asked === 0) setImmediate(() => !isOver && finish({ kind: 'failed', reason }));
        return;
      }
      asked += 1;
      turn = setTimeout(() => {
        if (waiting.length > 0) this.counters.hedged += 1;
        ask('silent');
      }, withinMs * TURN);
      this.#post(endpoint, '/v3/kv/txn', body, leftMs, (answer) => {
        asked -= 1;
        if (isOver) return;
        const outcome = readOutcome(answer);
        if (outcome.kind === 'read') finish(outcome);
        else if (waiting.length > 0) ask(outcome.reason);
        else if (asked === 0) finish(outcome);
      });
    };
    ask('no member');
  }

  #post(
    endpoint: EtcdEndpoint,
    path: string,
    body: object,
    withinMs: number,
    done: (answer: EtcdAnswer) => void,
  ): void {
    this.counters.requests += 1;
    endpoint.post(path, body, withinMs, (answer) => {
      if (answer.kind !== 'answer') this.#demote(endpoint, answer.reason);
      done(answer);
    });
  }

  #unknown(reason: string, done: (outcome: CommitOutcome) => void): void {
    this.counters.unknown += 1;
    setImmediate(() => done({ kind: 'unknown', reason }));
  }

  #demote(endpoint: EtcdEndpoint, reason: string): void {
    this.counters.silent += 1;
    this.#endpoints = [...this.#endpoints.filter((each) => each !== endpoint), endpoint];
    if (this.#endpoints.length === 1) return;
    for (const open of [...this.#watches]) if (open.endpoint === endpoint) open.lose(reason);
  }
}

function readOutcome(answer: EtcdAnswer): ReadOutcome {
  if (answer.kind !== 'answer') return { kind: 'failed', reason: answer.reason };
  try {
    return { kind: 'read', ...readAnswer(answer.body) };
  } catch (error) {
    return { kind: 'failed', reason: String(error) };
  }
}

function commitOutcome(body: unknown): CommitOutcome {
  try {
    const { succeeded, revision } = commitAnswer(body);
    return succeeded ? { kind: 'committed', revision } : { kind: 'conflict' };
  } catch (error) {
    return { kind: 'unknown', reason: String(error) };
  }
}

function eventsOf(line: unknown): WatchEvent[] {
  try {
    return watchEvents(line);
  } catch (error) {
    return [{ kind: 'lost', reason: String(error) }];
  }
}
