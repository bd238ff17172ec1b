/**
 * One debugger's conversation (gdb manual, "Packets"), over a DebugTarget: packets in, packets out, no socket. Threads
 * are harts, numbered from 1. Packets are answered in their order; while the harts run, gdb waits and only its
 * interrupt is heard.
 *
 * Left out: watchpoints and hardware breakpoints, reverse execution, non-stop mode, files on the target. An empty
 * answer says so, as the protocol asks. Harts that `vCont` does not name stay where they are: gdb asserts that none of
 * them is the reason of the next stop. Deviation: a step from a breakpoint is made before the others move.
 */
import type { DebugTarget, Move, StopReason } from './debug-target.ts';
import {
  encodePacket,
  fromHex,
  longestPayload,
  PacketReader,
  registerFromHex,
  registerToHex,
  toHex,
} from './packets.ts';
import { generalRegisters, privilegeBits, privilegeName, registerOf } from './target-description.ts';

export interface GdbPort {
  write(bytes: Uint8Array): void;
  /** Ends the connection. */
  close(): void;
}

const ok = 'OK';
const unsupported = '';
const badRequest = 'E16';
const badAddress = 'E01';
const [sigint, sigtrap] = ['02', '05'];
const mostMemoryBytes = longestPayload / 2 - 16;
/** Breakpoints that a debugger may have set at once. */
const mostBreakpoints = 4096;

type Handler = (rest: string, payload: Uint8Array) => string | undefined | Promise<string | undefined>;

export class GdbSession {
  readonly #target: DebugTarget;
  readonly #port: GdbPort;
  readonly #description: string;
  readonly #reader = new PacketReader();
  readonly #breakpoints = new Set<bigint>();
  #work: Promise<unknown> = Promise.resolve();
  #acknowledges = true;
  #lastSent: Uint8Array | undefined;
  /** `received`: a packet lets the harts go on, and waits for its turn. */
  #going: 'no' | 'received' | 'running' = 'no';
  /** gdb interrupted what had not gone on yet. */
  #isInterrupted = false;
  #isClosed = false;
  #stop: StopReason = { kind: 'interrupt', hart: 0 };
  /** Chosen by `Hg` for registers and memory, counted from 0. */
  #hart = 0;

  /** Halts the machine; `description` is the target's XML. */
  constructor(target: DebugTarget, port: GdbPort, description: string) {
    this.#target = target;
    this.#port = port;
    this.#description = description;
    this.#enqueue(async () => {
      this.#stop = await target.interrupt();
    });
  }

  /** Bytes from gdb, cut anywhere. */
  onData(bytes: Uint8Array): void {
    for (const incoming of this.#reader.push(bytes)) {
      switch (incoming.kind) {
        case 'packet':
          if (this.#acknowledges) this.#port.write(Uint8Array.of(0x2b));
          if (resumes(incoming.payload)) this.#going = 'received';
          this.#enqueue(async () => {
            const answer = await this.#answer(incoming.payload);
            if (resumes(incoming.payload)) [this.#going, this.#isInterrupted] = ['no', false];
            if (answer !== undefined) this.#send(answer);
          });
          break;
        case 'damaged':
          if (this.#acknowledges) this.#port.write(Uint8Array.of(0x2d));
          break;
        case 'refused':
          if (this.#acknowledges && this.#lastSent) this.#port.write(this.#lastSent);
          break;
        case 'interrupt':
          // Not in the queue: the packet that lets the harts run is still being answered. Without one, gdb's interrupt
          // crossed our stop reply on its way, and has had its effect.
          if (this.#going === 'running') this.#interrupt();
          else if (this.#going === 'received') this.#isInterrupted = true;
          break;
        case 'too-long':
          this.#leave();
          break;
      }
    }
  }

  /** The connection is gone: the machine goes on without a debugger. Resolves when it does. */
  async onClose(): Promise<void> {
    this.#isClosed = true;
    if (this.#going === 'running') await this.#target.interrupt();
    await this.#work;
    await this.#release();
  }

  /** Resolves when everything received so far is answered, unless the harts run. */
  async settled(): Promise<void> {
    await this.#work;
  }

  #enqueue(job: () => Promise<void>): void {
    this.#work = this.#work.then(job).catch(() => this.#leave());
  }

  #interrupt(): void {
    this.#target.interrupt().catch(() => this.#leave());
  }

  /** The connection ends here; the port tells its owner, who calls onClose. */
  #leave(): void {
    this.#isClosed = true;
    this.#port.close();
  }

  #send(payload: string | Uint8Array): void {
    if (this.#isClosed) return;
    this.#lastSent = encodePacket(typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload);
    this.#port.write(this.#lastSent);
  }

  async #answer(payload: Uint8Array): Promise<string | undefined> {
    if (this.#isClosed) return undefined;
    const text = Buffer.from(payload).toString('latin1');
    for (const [prefix, handler] of this.#handlers) {
      if (text.startsWith(prefix)) return await handler(text.slice(prefix.length), payload);
    }
    return unsupported;
  }

  readonly #handlers: readonly (readonly [prefix: string, handler: Handler])[] = [
    [
      'qSupported',
      () => `PacketSize=${longestPayload.toString(16)};qXfer:features:read+;vContSupported+;QStartNoAckMode+;swbreak+`,
    ],
    [
      'QStartNoAckMode',
      () => {
        this.#send(ok);
        this.#acknowledges = false;
        return undefined;
      },
    ],
    ['qXfer:features:read:', (rest) => this.#features(rest)],
    ['qAttached', () => '1'],
    ['qC', (rest) => (rest === '' ? `QC${hartId(this.#hart)}` : unsupported)],
    ['qfThreadInfo', () => `m${Array.from({ length: this.#target.harts }, (_, hart) => hartId(hart)).join(',')}`],
    ['qsThreadInfo', () => 'l'],
    ['qThreadExtraInfo,', (rest) => this.#withHart(rest, (hart) => this.#describe(hart))],
    ['vCont?', () => 'vCont;c;C;s;S'],
    ['vCont;', (rest) => this.#vCont(rest)],
    ['vKill', () => this.#kill(ok)],
    ['?', () => this.#stopReply(this.#stop)],
    ['g', () => this.#readGeneral()],
    ['G', (rest) => this.#writeGeneral(rest)],
    ['p', (rest) => this.#readOne(rest)],
    ['P', (rest) => this.#writeOne(rest)],
    ['m', (rest) => this.#readMemory(rest)],
    ['M', (rest) => this.#writeMemory(rest)],
    ['X', (_rest, payload) => this.#writeBinary(payload)],
    ['Z0,', (rest) => this.#breakpoint(rest, true)],
    ['z0,', (rest) => this.#breakpoint(rest, false)],
    ['Hg', (rest) => this.#choose(rest)],
    ['Hc', () => ok],
    ['T', (rest) => this.#withHart(rest, () => ok)],
    ['c', (rest) => (rest === '' ? this.#vCont('c') : badRequest)],
    ['s', (rest) => (rest === '' ? this.#vCont(`s:${hartId(this.#hart)}`) : badRequest)],
    ['D', () => this.#detach()],
    ['k', () => this.#kill(undefined)],
  ];

  #features(rest: string): string {
    const match = /^target\.xml:([0-9a-f]{1,8}),([0-9a-f]{1,8})$/i.exec(rest);
    if (match === null) return 'E00';
    const [at, length] = [Number.parseInt(match[1] ?? '', 16), Number.parseInt(match[2] ?? '', 16)];
    const part = this.#description.slice(at, at + Math.min(length, mostMemoryBytes));
    return `${at + part.length < this.#description.length ? 'm' : 'l'}${part}`;
  }

  async #describe(hart: number): Promise<string> {
    const mode = privilegeName(await this.#target.readPrivilege(hart));
    return toHex(Buffer.from(`hart ${hart}, ${mode}`));
  }

  #withHart<T>(id: string, then: (hart: number) => T): T | string {
    const hart = Number.parseInt(id, 16) - 1;
    return /^[0-9a-f]{1,8}$/i.test(id) && hart >= 0 && hart < this.#target.harts ? then(hart) : badRequest;
  }

  /** Thread 0 is any, -1 all: the one that was chosen stays. */
  #choose(id: string): string {
    if (id === '0' || id === '-1') return ok;
    return this.#withHart(id, (hart) => {
      this.#hart = hart;
      return ok;
    });
  }

  /** Each hart makes the first action that names it, or all; the answer comes when they stand still. */
  async #vCont(rest: string): Promise<string> {
    const actions = rest.split(';').map(actionOf);
    const moves = Array.from(
      { length: this.#target.harts },
      (_, hart) => actions.find((action) => action?.hart === undefined || action.hart === hart)?.move ?? 'stay',
    );
    const isValid = actions.every((action) => action !== undefined && (action.hart ?? 0) < this.#target.harts);
    return isValid && moves.some((move) => move !== 'stay') ? await this.#resume(moves) : badRequest;
  }

  async #resume(moves: readonly Move[]): Promise<string> {
    const stopped = this.#target.resume(moves);
    this.#going = 'running';
    if (this.#isInterrupted) this.#interrupt();
    this.#stop = await stopped;
    return this.#stopReply(this.#stop);
  }

  #stopReply(stop: StopReason): string {
    if (stop.kind === 'ended') return `W${(stop.code & 0xff).toString(16).padStart(2, '0')}`;
    this.#hart = stop.hart;
    const signal = stop.kind === 'interrupt' ? sigint : sigtrap;
    return `T${signal}thread:${hartId(stop.hart)};${stop.kind === 'breakpoint' ? 'swbreak:;' : ''}`;
  }

  async #readGeneral(): Promise<string> {
    const registers = await this.#target.readRegisters(this.#hart);
    return [...registers.x, registers.pc].map(registerToHex).join('');
  }

  async #writeGeneral(rest: string): Promise<string> {
    const values = generalRegisters.map((_, i) => registerFromHex(rest.slice(16 * i, 16 * i + 16)));
    if (values.includes(undefined)) return badRequest;
    for (const [i, register] of generalRegisters.entries()) {
      await this.#target.writeRegister(this.#hart, register, values[i] ?? 0n);
    }
    return ok;
  }

  async #readOne(rest: string): Promise<string> {
    const register = /^[0-9a-f]{1,8}$/i.test(rest) ? registerOf(Number.parseInt(rest, 16)) : undefined;
    if (register === undefined) return badRequest;
    if (register.kind === 'csr') {
      const value = await this.#target.readCsr(this.#hart, register.number);
      return value === undefined ? 'x'.repeat(16) : registerToHex(value);
    }
    if (register.kind === 'privilege')
      return registerToHex(privilegeBits(await this.#target.readPrivilege(this.#hart)));
    const { pc, x, f } = await this.#target.readRegisters(this.#hart);
    return registerToHex(register.kind === 'pc' ? pc : ((register.kind === 'x' ? x : f)[register.number] ?? 0n));
  }

  async #writeOne(rest: string): Promise<string> {
    const [, number = '', digits = ''] = /^([0-9a-f]{1,8})=([0-9a-f]+)$/i.exec(rest) ?? [];
    const register = number === '' ? undefined : registerOf(Number.parseInt(number, 16));
    const value = registerFromHex(digits);
    if (register === undefined || register.kind === 'privilege' || value === undefined) return badRequest;
    if (register.kind === 'csr') {
      return (await this.#target.writeCsr(this.#hart, register.number, value)) ? ok : badRequest;
    }
    await this.#target.writeRegister(this.#hart, register, value);
    return ok;
  }

  async #readMemory(rest: string): Promise<string> {
    const range = rangeOf(rest);
    if (range === undefined) return badRequest;
    const length = Math.min(range.length, mostMemoryBytes);
    if (length === 0) return ok;
    const bytes = await this.#target.readMemory(this.#hart, range.address, length);
    return bytes === undefined || bytes.length === 0 ? badAddress : toHex(bytes);
  }

  async #writeMemory(rest: string): Promise<string> {
    const colon = rest.indexOf(':');
    const range = rangeOf(rest.slice(0, Math.max(0, colon)));
    const bytes = fromHex(rest.slice(colon + 1));
    if (range === undefined || bytes?.length !== range.length) return badRequest;
    return await this.#write(range.address, bytes);
  }

  /** As `M`, with the bytes as they are. */
  async #writeBinary(payload: Uint8Array): Promise<string> {
    const colon = payload.indexOf(0x3a);
    const range = rangeOf(Buffer.from(payload.subarray(1, Math.max(1, colon))).toString('latin1'));
    const bytes = payload.slice(colon + 1);
    if (colon < 0 || range === undefined || bytes.length !== range.length) return badRequest;
    return await this.#write(range.address, bytes);
  }

  async #write(address: bigint, bytes: Uint8Array): Promise<string> {
    if (bytes.length === 0) return ok;
    return (await this.#target.writeMemory(this.#hart, address, bytes)) ? ok : badAddress;
  }

  async #breakpoint(rest: string, sets: boolean): Promise<string> {
    const match = /^([0-9a-f]{1,16}),[0-9a-f]{1,2}/i.exec(rest);
    if (match === null) return badRequest;
    const address = BigInt(`0x${match[1]}`);
    if (!sets) {
      this.#breakpoints.delete(address);
      return (await this.#target.clearBreakpoint(address)) ? ok : badAddress;
    }
    if (this.#breakpoints.size >= mostBreakpoints) return badRequest;
    if (!(await this.#target.setBreakpoint(this.#hart, address))) return badAddress;
    this.#breakpoints.add(address);
    return ok;
  }

  async #detach(): Promise<undefined> {
    this.#send(ok);
    await this.#release();
    this.#leave();
  }

  async #kill(answer: string | undefined): Promise<undefined> {
    if (answer !== undefined) this.#send(answer);
    this.#stop = { kind: 'ended', code: 0 };
    await this.#target.kill();
    this.#leave();
  }

  /** Takes back what this debugger did, and lets the machine go on. */
  async #release(): Promise<void> {
    for (const address of this.#breakpoints) await this.#target.clearBreakpoint(address);
    this.#breakpoints.clear();
    if (this.#stop.kind === 'ended') return;
    this.#stop = { kind: 'ended', code: 0 }; // for us: nobody is told of what comes
    const moves = Array.from({ length: this.#target.harts }, () => 'continue' as const);
    this.#target.resume(moves).catch(() => {}); // the machine's own end is known where it belongs
  }
}

/** May this packet let harts go on? */
function resumes(payload: Uint8Array): boolean {
  return /^(vCont;|[csCS])/.test(Buffer.from(payload.subarray(0, 6)).toString('latin1'));
}

/** One action of `vCont`; without a hart it is for all. Signals mean nothing to a machine. */
function actionOf(text: string): { move: Move; hart: number | undefined } | undefined {
  const match = /^([cs]|[CS][0-9a-f]{2})(?::(-1|0*[1-9a-f][0-9a-f]{0,7}))?$/i.exec(text);
  if (match === null) return undefined;
  const [, action = '', id] = match;
  return {
    move: action.toLowerCase().startsWith('s') ? 'step' : 'continue',
    hart: id === undefined || id === '-1' ? undefined : Number.parseInt(id, 16) - 1,
  };
}

function hartId(hart: number): string {
  return (hart + 1).toString(16);
}

function rangeOf(text: string): { address: bigint; length: number } | undefined {
  const match = /^([0-9a-f]{1,16}),([0-9a-f]{1,8})$/i.exec(text);
  if (match === null) return undefined;
  return { address: BigInt(`0x${match[1]}`), length: Number.parseInt(match[2] ?? '', 16) };
}
