/** What the daemon tells as it happens: the list of partitions, events, and whether the conversation stands. */
import { ApiError, type Client, type Event, type Partition } from '../client/index.ts';

const AGAIN_MS = { least: 500, most: 10_000 } as const;
const KEPT_EVENTS = 500;

export type Connection = 'live' | 'lost' | 'refused';

export class Live extends EventTarget {
  readonly client: Client;
  partitions: readonly Partition[] = [];
  events: readonly Event[] = [];
  connection: Connection = 'lost';
  readonly #signal: AbortSignal;
  #since: number | undefined;

  constructor(client: Client, signal: AbortSignal) {
    super();
    this.client = client;
    this.#signal = signal;
  }

  partition(name: string): Partition | undefined {
    return this.partitions.find((one) => one.name === name);
  }

  /** Calls `listener` at every change until `signal` aborts, and once now. */
  watch(listener: () => void, signal: AbortSignal): void {
    this.addEventListener('change', listener, { signal });
    listener();
  }

  /** Follows the daemon until the signal of the constructor aborts; comes back to one that was away. */
  async follow(): Promise<void> {
    for (let waitMs: number = AGAIN_MS.least; !this.#signal.aborted; waitMs = Math.min(waitMs * 2, AGAIN_MS.most)) {
      try {
        await this.#begin();
        waitMs = AGAIN_MS.least;
        const since = this.#since === undefined ? {} : { since: this.#since };
        for await (const event of this.client.events(since, { signal: this.#signal })) {
          this.#take([event]);
          if (event.kind !== 'image-progress') await this.refresh();
        }
      } catch (error) {
        if (this.#signal.aborted) return;
        if (error instanceof ApiError && error.status === 401) {
          this.#connect('refused');
          return;
        }
      }
      this.#connect('lost');
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }

  async refresh(): Promise<void> {
    this.partitions = (await this.client.listPartitions({ signal: this.#signal })).partitions;
    this.#changed();
  }

  async #begin(): Promise<void> {
    const { events } = await this.client.eventHistory({ most: KEPT_EVENTS }, { signal: this.#signal });
    this.#take(events);
    await this.refresh();
    this.#connect('live');
  }

  #take(events: readonly Event[]): void {
    const fresh = events.filter(({ id }) => id === 0 || id > (this.#since ?? -1));
    for (const { id } of fresh) if (id > 0) this.#since = id;
    this.events = [...this.events, ...fresh].slice(-KEPT_EVENTS);
  }

  #connect(connection: Connection): void {
    this.connection = connection;
    this.#changed();
  }

  #changed(): void {
    this.dispatchEvent(new CustomEvent('change'));
  }
}
