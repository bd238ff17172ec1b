/**
 * The other side of a checkpoint stream: a machine that has what the guest is made of, and does not run it, until it is
 * promoted, or a migration hands it over.
 *
 *   greeted --hello--> filling --a whole round--> ready --promote | handover--> running
 *                        |                          |
 *                        +---the source is lost-----+--> orphaned (ready: it can be promoted; filling: it is of no use)
 *
 * A round counts when all of it has come and fits together: before, nothing of it is visible. (While the machine is being filled
 * for the first time there is nothing to be spoiled, and pages go where they belong as they come.)
 */
import { OperatorError } from '../base/errors.ts';
import { type DriveChange, decodeDiskChanges } from './disk-lists.ts';
import { badStream, type Message } from './messages.ts';
import { countOf, jsonOf, type Peer } from './peer.ts';

export interface TargetMachine {
  /** Of its drives, in their order. */
  readonly driveSizes: readonly number[];
  /** Of guest memory: no round is larger. */
  readonly memoryBytes: number;
  /** Puts pages where they belong. Throws OperatorError `stream-damaged` for a list that makes no sense. */
  putPages(meta: Uint8Array, data: Uint8Array): void;
  /** Whether `putPages` would; how many pages these are. */
  checkPages(meta: Uint8Array, data: Uint8Array): number;
  /** Writes to drives that the guest has for itself, or that wait until it runs here: in order, behind each other. */
  putDisks(changes: readonly DriveChange[]): void;
  /** Writes of rounds up to this one are on the drives: what waited need not any more. */
  applied(number: number): void;
  /** The source's clock a moment ago. */
  heardClock(ticks: number): void;
  /** Reads the state, in JSON, of the round that comes to its end. Throws OperatorError where it does not fit. */
  readState(state: Uint8Array): void;
  /** All of the guest is here, as of that round and of the state that was read last. */
  whole(number: number): void;
  /** It runs from here on. Rejects with an OperatorError where it cannot; then it never will. */
  run(): Promise<void>;
  /** It is given up: the guest has ended, or stays where it was. */
  discard(why: string): void;
}

export interface TargetEvents {
  /** Makes the machine that the source speaks of. Rejects with an OperatorError where it cannot be. */
  make(hello: Readonly<Record<string, unknown>>): Promise<TargetMachine>;
  /** `ready`: it can be promoted, as of that round. */
  changed(state: TargetState, why: string): void;
}

export type TargetState = 'greeted' | 'filling' | 'ready' | 'starting' | 'running' | 'orphaned' | 'discarded';

/** Of a round's messages besides pages. */
const MOST_ROUND_DISK_BYTES = 512 << 20;
const MOST_STATE_BYTES = 16 << 20;

interface Gathered {
  pages: { readonly meta: Uint8Array; readonly data: Uint8Array }[];
  pageCount: number;
  pageBytes: number;
  changes: DriveChange[];
  messages: number;
  diskBytes: number;
  state: Uint8Array | undefined;
}

export class Target {
  readonly #events: TargetEvents;
  #peer: Peer | undefined;
  #machine: TargetMachine | undefined;
  #state: TargetState = 'greeted';
  #round = 0;
  /** The last round that was whole. */
  #whole = 0;
  #isMigration = false;
  #gathered = nothing();
  /** The machine is being made. */
  #isGreeting = false;
  #running: Promise<void> | undefined;

  constructor(events: TargetEvents) {
    this.#events = events;
  }

  get state(): TargetState {
    return this.#state;
  }

  /** As of which round it could run; 0: not yet. */
  get epoch(): number {
    return this.#whole;
  }

  attach(peer: Peer): void {
    this.#peer = peer;
  }

  /** Of the source. Throws OperatorError for what it may not say. */
  message(message: Message): void {
    if (this.#isGreeting) throw badStream('the source does not wait for its welcome');
    if (this.#state === 'greeted') {
      if (message.kind !== 'hello') throw badStream('the source does not say what it is of');
      this.#isGreeting = true;
      void this.#greet(jsonOf(message));
      return;
    }
    const machine = this.#machine;
    if (machine === undefined || (this.#state !== 'filling' && this.#state !== 'ready'))
      throw badStream('the guest is not to be filled any more');
    switch (message.kind) {
      case 'pages':
        this.#pages(machine, message);
        return;
      case 'disk':
        this.#disk(machine, message);
        return;
      case 'state':
        if (this.#gathered.state !== undefined || message.data.length > MOST_STATE_BYTES)
          throw badStream('two states, or too large a one');
        this.#gathered.state = message.data;
        return;
      case 'round':
        this.#end(machine, jsonOf(message));
        return;
      case 'applied':
        machine.applied(countOf(jsonOf(message), 'number'));
        return;
      case 'ended':
        // Said before the connection ends, so that the source can tell it from a loss.
        this.#peer?.sayLast('ended');
        this.#discard('the guest has ended');
        return;
      case 'handover':
        if (!this.#isMigration || this.#state !== 'ready') throw badStream('nothing was asked to be handed over');
        // What becomes of it, the source is told.
        this.#run({ isHandover: true }).catch(() => {});
        return;
      default:
        throw badStream(`a source does not say ${message.kind}`);
    }
  }

  /** The connection is lost. */
  lost(error: Error): void {
    if (this.#state !== 'filling' && this.#state !== 'ready' && this.#state !== 'greeted') return;
    this.#gathered = nothing();
    // What was not handed over goes on where it was.
    if (this.#whole > 0 && !this.#isMigration) this.#set('orphaned', error.message);
    else this.#discard(error.message);
  }

  /**
   * It runs here, as of the last whole round; the source is heard no more. Resolves when it does; rejects with an
   * OperatorError where there is nothing that could.
   */
  async promote(): Promise<void> {
    if (this.#running !== undefined) return await this.#running;
    await this.#run({ isHandover: false });
  }

  async #run({ isHandover }: { readonly isHandover: boolean }): Promise<void> {
    const isOurs = isHandover || !this.#isMigration;
    if (this.#machine === undefined || this.#whole === 0 || this.#state === 'discarded' || !isOurs)
      throw new OperatorError(
        'standby-not-ready',
        'the standby has not got all of the guest',
        'Wait until it is ready (kage ps), or start the guest anew.',
      );
    const machine = this.#machine;
    if (!isHandover) this.#peer?.close();
    this.#gathered = nothing();
    this.#state = 'starting';
    this.#running = machine.run();
    try {
      await this.#running;
    } catch (error) {
      if (isHandover) this.#peer?.refuse(error);
      this.#discard(error instanceof Error ? error.message : String(error));
      throw error;
    }
    this.#set('running', isHandover ? 'handed over' : 'promoted');
    if (isHandover && this.#peer?.isLost === false) this.#peer.say('running');
  }

  /** What came cannot be kept: the source is told, and nobody may take it for a standby. Of one that runs nothing is heard. */
  failed(error: unknown): void {
    if (this.#running !== undefined) return;
    this.#peer?.refuse(error);
    this.#discard(error instanceof Error ? error.message : String(error));
  }

  /** Whether it runs here; if not, it never will from now on. */
  async outcome(): Promise<'running' | 'never'> {
    try {
      if (this.#running !== undefined) {
        await this.#running;
        return 'running';
      }
    } catch {
      // Then it does not.
    }
    this.#discard('the source goes on with it');
    return 'never';
  }

  async #greet(hello: Readonly<Record<string, unknown>>): Promise<void> {
    try {
      this.#isMigration = hello['mode'] === 'migration';
      const machine = await this.#events.make(hello);
      this.#isGreeting = false;
      if (this.#state !== 'greeted') {
        machine.discard('the source is gone');
        return;
      }
      this.#machine = machine;
      this.#set('filling', 'a source is there');
      this.#peer?.say('welcome');
    } catch (error) {
      this.#isGreeting = false;
      this.#peer?.refuse(error);
      this.#discard(error instanceof Error ? error.message : String(error));
    }
  }

  #pages(machine: TargetMachine, { meta, data }: Message): void {
    const gathered = this.#gathered;
    gathered.pageCount += machine.checkPages(meta, data);
    if (this.#whole === 0) {
      machine.putPages(meta, data);
      return;
    }
    // Pages of zeros have no data: their lists count.
    gathered.pageBytes += meta.length + data.length;
    if (gathered.pageBytes > machine.memoryBytes + (1 << 20)) throw badStream('a round is larger than the guest');
    gathered.pages.push({ meta, data });
  }

  #disk(machine: TargetMachine, { meta, data }: Message): void {
    const gathered = this.#gathered;
    gathered.diskBytes += meta.length + data.length;
    if (this.#whole > 0 && gathered.diskBytes > MOST_ROUND_DISK_BYTES)
      throw badStream('a round writes too much to disks');
    gathered.messages++;
    const changes = decodeDiskChanges(meta, data, machine.driveSizes);
    if (this.#whole === 0) machine.putDisks(changes);
    else gathered.changes.push(...changes);
  }

  #end(machine: TargetMachine, round: Readonly<Record<string, unknown>>): void {
    const gathered = this.#gathered;
    const number = countOf(round, 'number');
    const isWhole = round['isWhole'] === true;
    if (
      number !== this.#round + 1 ||
      countOf(round, 'pages') !== gathered.pageCount ||
      countOf(round, 'disks') !== gathered.messages ||
      isWhole !== (gathered.state !== undefined) ||
      // Once it is whole it stays so.
      (this.#whole > 0 && !isWhole)
    )
      throw badStream('the parts of a round do not fit together');
    const ticks = countOf(round, 'ticks');
    // The last that may be wrong: from here on all of the round is put in place.
    if (gathered.state !== undefined) machine.readState(gathered.state);
    machine.heardClock(ticks);
    for (const { meta, data } of gathered.pages) machine.putPages(meta, data);
    if (gathered.changes.length > 0) machine.putDisks(gathered.changes);
    if (isWhole) machine.whole(number);
    this.#gathered = nothing();
    this.#round = number;
    if (isWhole) {
      const isFirst = this.#whole === 0;
      this.#whole = number;
      if (isFirst) this.#set('ready', 'all of the guest is here');
    }
    this.#peer?.say('ack', { number });
  }

  #discard(why: string): void {
    if (this.#state === 'discarded') return;
    this.#peer?.close();
    this.#machine?.discard(why);
    this.#whole = 0;
    this.#set('discarded', why);
  }

  #set(state: TargetState, why: string): void {
    this.#state = state;
    this.#events.changed(state, why);
  }
}

function nothing(): Gathered {
  return { pages: [], pageCount: 0, pageBytes: 0, changes: [], messages: 0, diskBytes: 0, state: undefined };
}
