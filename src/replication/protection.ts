/**
 * Hot standby, the active guest's side: its state goes to the standby epoch by epoch, and what it tells the world leaves
 * when the epoch's checkpoint is acknowledged.
 *
 *   syncing --little is left--> protected --the standby is lost--> unprotected (goes on at once)
 *                                   |                          \-> waiting     (stands still until it is told to go on)
 *                                   +--stopped by the operator--> unprotected
 *
 *   guest    ---epoch 7---|stands still|---epoch 8-----------|...
 *   stream                 pages, writes, state ->  <- ack 7
 *   world                                            output of epoch 7
 *
 * One checkpoint is under way at a time: where acknowledgements take longer than an epoch, epochs are longer. Output ends its
 * epoch early, once the guest has run for a while. What waits is bounded: half of the bound begins the next checkpoint early,
 * all of it has the guest stand still.
 */
import type { DiskEpoch } from './journal-disk.ts';
import { Meter, type ReplicationMeasures } from './measures.ts';
import type { Peer } from './peer.ts';
import type { ReplicationPorts, SourceGuest } from './source-guest.ts';
import { cancelled, SourceRounds, sendLayers } from './source-rounds.ts';

export interface ProtectionOptions {
  /** From one checkpoint to the next, at most. */
  readonly epochMs: number;
  /** Output that waits ends the epoch: whoever talks to the guest waits for a checkpoint, not for an epoch. */
  readonly isEager: boolean;
  /** What to do when the standby is lost. */
  readonly onLoss: 'go-on' | 'wait';
  /** Of output and of disk writes that wait, together. */
  readonly mostHeldBytes: number;
}

export type ProtectionState = 'syncing' | 'protected' | 'unprotected' | 'waiting' | 'ended';

export interface ProtectionEvents {
  /** `why`: in words; of a loss, the error's message. */
  changed(state: ProtectionState, why: string): void;
  /** A disk refused what was acknowledged to the guest: it cannot go on here. */
  broken(error: Error): void;
}

/** Few enough to be sent while the guest stands still. */
const FEW_PAGES = 1024;
const MOST_SYNC_ROUNDS = 12;
/** A guest that speaks all the time runs so many times as long as it stood still. */
const RUNS = 2;
/** The standby's answer to the guest's end. */
const END_MS = 1000;

export class Protection {
  readonly #guest: SourceGuest;
  readonly #peer: Peer;
  readonly #ports: ReplicationPorts;
  readonly #options: ProtectionOptions;
  readonly #events: ProtectionEvents;
  readonly #rounds: SourceRounds;
  readonly #meter = new Meter();
  #state: ProtectionState = 'syncing';
  #isOver = false;
  #isBroken = false;
  /** Writes of acknowledged epochs on their way to disks. */
  #applied: Promise<void> = Promise.resolve();
  /** Ends what waits for the next epoch to begin. */
  #hurry = (): void => {};
  /** Lets a guest that has ended go on to its end. */
  #goOn: (() => void) | undefined;
  #isGivenUp = false;
  /** Until then it runs, whatever it says. */
  #speaksFromMs = 0;
  #error: Error | undefined;
  /** Somebody said so. */
  #isStopped = false;
  readonly #toldToGoOn = Promise.withResolvers<void>();
  readonly #over = Promise.withResolvers<void>();

  constructor(
    guest: SourceGuest,
    peer: Peer,
    ports: ReplicationPorts,
    options: ProtectionOptions,
    events: ProtectionEvents,
  ) {
    this.#guest = guest;
    this.#peer = peer;
    this.#ports = ports;
    this.#options = options;
    this.#events = events;
    this.#rounds = new SourceRounds(peer, guest);
  }

  get state(): ProtectionState {
    return this.#state;
  }

  /** The epoch that was acknowledged last; 0: none. */
  get epoch(): number {
    return this.#state === 'syncing' ? 0 : this.#rounds.number;
  }

  measures(): ReplicationMeasures {
    return this.#meter.report();
  }

  /** For the peer's owner: what it says, and that it is lost. */
  get rounds(): Pick<SourceRounds, 'message' | 'lost'> {
    return this.#rounds;
  }

  /**
   * Until it is over, whatever the reason. Resolves when the guest is protected no more, and goes on: at once or when it is
   * told to, as the options say; rejects if the standby refused before there was any protection.
   */
  async run(hello: unknown): Promise<void> {
    try {
      await this.#rounds.ask('hello', hello);
      await this.#sync();
      await this.#protect();
    } catch (error) {
      await this.#lose(error);
    } finally {
      this.#over.resolve();
    }
  }

  /**
   * The operator wants no standby any more, or the guest goes on without the one that is lost, or that is just being lost.
   * Resolves when it does.
   */
  async stop(): Promise<void> {
    if (this.#goOn !== undefined) {
      this.#goOn();
      return;
    }
    if (this.#state === 'ended') return;
    this.#isStopped = true;
    this.#toldToGoOn.resolve();
    this.#peer.fail(cancelled());
    await this.#over.promise;
  }

  /**
   * The guest has ended by itself: the standby is told, and then whatever waits leaves. A standby that cannot be told may be promoted
   * yet, from before the end: that is a loss as any other, and with `wait` resolves when somebody says what is to be. Or (`isOurs`
   * is false) its time is over, and it is the standby's to go on with it: nobody is told, and nothing leaves.
   */
  async guestEnded({ isOurs = true }: { readonly isOurs?: boolean } = {}): Promise<void> {
    // One that stands still for want of a word never gets it.
    this.#toldToGoOn.resolve();
    if (this.#isOver) return;
    this.#isOver = true;
    this.#hurry();
    if (!isOurs) {
      this.#peer.close();
      this.#set('ended', 'the time of the guest here is over');
      return;
    }
    const wasProtected = this.#state === 'protected';
    const isHeard = await this.#tellEnd();
    this.#peer.close();
    const isDoubtful = !isHeard && wasProtected && this.#options.onLoss === 'wait';
    if (isDoubtful && !this.#isGivenUp) {
      this.#set('waiting', 'the guest has ended, and its standby could not be told');
      await new Promise<void>((resolve) => {
        this.#goOn = resolve;
      });
    }
    if (!isDoubtful || !this.#isGivenUp) await this.#openAll();
    this.#set('ended', 'the guest has ended');
  }

  /** Its process is to end, whatever waits. */
  giveUp(): void {
    this.#isGivenUp = true;
    this.#goOn?.();
  }

  /** Whether nobody goes on from an earlier moment: the standby says so, or there is none. */
  async #tellEnd(): Promise<boolean> {
    if (this.#state !== 'protected' && this.#state !== 'syncing') return true;
    let late = (): void => {};
    const tooLate = new Promise<boolean>((resolve) => {
      late = this.#ports.after(END_MS, () => resolve(false));
    });
    const told = this.#rounds.ask('ended').then(
      () => true,
      () => false,
    );
    const isHeard = await Promise.race([told, tooLate]);
    late();
    return isHeard;
  }

  /** Copies all of it while it runs, until what changes meanwhile is little. */
  async #sync(): Promise<void> {
    let left = Number.POSITIVE_INFINITY;
    for (let round = 0; round < MOST_SYNC_ROUNDS; round++) {
      const hold = await this.#guest.hold();
      if (round === 0)
        for (const { role, journal } of this.#guest.disks) if (role === 'layer') journal.setMode('recorded');
      const pages = this.#guest.sweep();
      const disks = this.#guest.disks.map(({ role, journal }) => (role === 'layer' ? journal.take() : undefined));
      hold.release();
      let messages = round === 0 ? await sendLayers(this.#rounds, this.#guest) : 0;
      messages += await this.#rounds.sendDisks(disks);
      await this.#rounds.sendPages(pages);
      await this.#rounds.end({ pages: pages.length, disks: messages });
      if (pages.length <= FEW_PAGES || pages.length > left * 0.8) return;
      left = pages.length;
    }
  }

  async #protect(): Promise<void> {
    const { epochMs } = this.#options;
    for (let isFirst = true; !this.#isOver; isFirst = false) {
      const begunMs = this.#ports.nowMs();
      await this.#checkpoint(isFirst);
      if (isFirst) this.#set('protected', 'the standby has all of it');
      await this.#until(begunMs + epochMs);
      if (!this.#isOver && this.#ports.nowMs() < begunMs + epochMs) this.#meter.early++;
    }
  }

  async #checkpoint(isFirst: boolean): Promise<void> {
    const { gate, disks } = this.#guest;
    const sentBefore = this.#peer.writer.sentBytes;
    const hold = await this.#guest.hold();
    let batches: { readonly meta: Uint8Array; readonly data: Uint8Array }[];
    let state: () => Uint8Array;
    let epochs: (DiskEpoch | undefined)[];
    let pages: Uint32Array;
    let isReleased = false;
    try {
      if (isFirst) await this.#beginHolding();
      pages = this.#guest.sweep();
      state = this.#guest.state();
      epochs = disks.map(({ role, journal }) => (role === 'read-only' ? undefined : journal.take()));
      if (!isFirst) gate.mark();
      batches = this.#copy(pages);
      if (this.#heldBytes <= this.#options.mostHeldBytes) {
        hold.release();
        isReleased = true;
      }
    } catch (error) {
      hold.release();
      throw error;
    }
    const atMs = this.#ports.nowMs();
    this.#speaksFromMs = atMs + RUNS * (atMs - hold.sinceMs);
    this.#meter.checkpoint({ pages: pages.length, pauseMs: atMs - hold.sinceMs, atMs });
    try {
      const messages = await this.#rounds.sendDisks(epochs);
      for (const { meta, data } of batches) await this.#peer.writer.send('pages', meta, data);
      const acknowledged = this.#rounds.end({ pages: pages.length, disks: messages }, state());
      await this.#unlessTooMuch(acknowledged);
    } finally {
      if (!isReleased) {
        this.#meter.stalls++;
        hold.release();
      }
    }
    const ackMs = this.#ports.nowMs() - atMs;
    this.#meter.acknowledged({ bytes: this.#peer.writer.sentBytes - sentBefore, ackMs });
    this.#commit(this.#rounds.number, epochs);
  }

  /** From here on output waits, and writes of disks that outlive this process. Held. */
  async #beginHolding(): Promise<void> {
    const { gate, disks } = this.#guest;
    for (const { role, journal } of disks) {
      if (role !== 'shared') continue;
      await journal.flush();
      journal.setMode('held');
      journal.onHeld = () => this.#watchHeld();
    }
    gate.onHeld = () => this.#watchHeld();
    // What leaves from now on is of the epoch that the next checkpoint ends.
    gate.close(this.#rounds.number + 2);
  }

  #copy(pages: Uint32Array): { readonly meta: Uint8Array; readonly data: Uint8Array }[] {
    const batches = [];
    for (let at = 0; at < pages.length; at += 256) batches.push(this.#guest.read(pages.subarray(at, at + 256)));
    return batches;
  }

  /** An epoch is safe: its writes go to the disks, and then its output leaves. In the order of epochs. */
  #commit(number: number, epochs: readonly (DiskEpoch | undefined)[]): void {
    const { gate, disks } = this.#guest;
    this.#applied = this.#applied.then(async () => {
      try {
        for (const [i, { role, journal }] of disks.entries()) {
          const epoch = epochs[i];
          if (role === 'shared' && epoch !== undefined) await journal.apply(epoch);
        }
      } catch (error) {
        // Nothing leaves any more.
        this.#isBroken = true;
        this.#events.broken(error instanceof Error ? error : new Error(String(error)));
      }
      if (this.#isBroken) return;
      gate.commit(number);
      if (!this.#peer.isLost) this.#peer.say('applied', { number });
    });
  }

  get #heldBytes(): number {
    const { gate, disks } = this.#guest;
    return disks.reduce((sum, { role, journal }) => sum + (role === 'shared' ? journal.heldBytes : 0), gate.heldBytes);
  }

  #watchHeld(): void {
    const held = this.#heldBytes;
    this.#meter.heldPeakBytes = Math.max(this.#meter.heldPeakBytes, held);
    if (held >= this.#options.mostHeldBytes / 2 || this.#options.isEager) this.#hurry();
  }

  /** While an acknowledgement is waited for, the guest stands still if it has filled all that may wait. */
  async #unlessTooMuch(acknowledged: Promise<void>): Promise<void> {
    let isOver = false;
    const over = acknowledged.finally(() => {
      isOver = true;
    });
    over.catch(() => {}); // told below
    while (!isOver) {
      const hurried = new Promise<void>((resolve) => {
        this.#hurry = resolve;
      });
      await Promise.race([over, hurried]).catch(() => {});
      if (isOver || this.#heldBytes <= this.#options.mostHeldBytes) continue;
      this.#meter.stalls++;
      const hold = await this.#guest.hold();
      await over.finally(() => hold.release());
    }
    await acknowledged;
  }

  /** The end of the epoch, which is then at the latest. */
  async #until(atMs: number): Promise<void> {
    for (;;) {
      if (this.#peer.isLost) throw this.#loss();
      const isFull = this.#heldBytes >= this.#options.mostHeldBytes / 2;
      const isSpeaking = this.#options.isEager && this.#guest.gate.hasFresh;
      const leftMs = (isSpeaking ? Math.min(atMs, this.#speaksFromMs) : atMs) - this.#ports.nowMs();
      if (leftMs <= 0 || this.#isOver || isFull) return;
      await new Promise<void>((resolve) => {
        const cancel = this.#ports.after(leftMs, resolve);
        this.#hurry = () => {
          cancel();
          resolve();
        };
      });
    }
  }

  #loss(): Error {
    return this.#error ?? cancelled();
  }

  /** The peer's owner tells of it. */
  lost(error: Error): void {
    this.#error = error;
    this.#rounds.lost(error);
    this.#hurry();
  }

  async #lose(error: unknown): Promise<void> {
    // Its end is told by itself; to the standby, too, or that would go on with a guest that has ended.
    if (this.#isOver || this.#guest.hasEnded) return;
    this.#isOver = true;
    const wasProtected = this.#state === 'protected';
    this.#peer.close();
    const why = error instanceof Error ? error.message : String(error);
    const waits = wasProtected && this.#options.onLoss === 'wait' && !this.#isStopped;
    const letGo = waits ? await this.#waitForWord(why) : (): void => {};
    if (this.#guest.hasEnded) return;
    await this.#openAll();
    letGo();
    this.#set('unprotected', this.#isStopped ? cancelled().message : why);
    if (!wasProtected) throw error;
  }

  /** The guest stands still until somebody says that it may go on alone; the result lets it. */
  async #waitForWord(why: string): Promise<() => void> {
    const hold = this.#guest.hold().catch(() => undefined);
    // Who is told meanwhile does not wait for the guest to stand still.
    await Promise.race([hold, this.#toldToGoOn.promise]);
    if (!this.#isStopped && !this.#guest.hasEnded) this.#set('waiting', why);
    await this.#toldToGoOn.promise;
    return () => void hold.then((held) => held?.release());
  }

  /** Nothing waits any more, in the order in which it would have left. */
  async #openAll(): Promise<void> {
    const { gate, disks } = this.#guest;
    await this.#applied;
    if (this.#isBroken) return;
    for (const { role, journal } of disks) {
      if (role === 'shared') await journal.applyAll();
      journal.setMode('through');
      journal.onHeld = undefined;
    }
    gate.onHeld = undefined;
    gate.open();
    this.#guest.endSweeps();
  }

  #set(state: ProtectionState, why: string): void {
    this.#state = state;
    this.#events.changed(state, why);
  }
}
