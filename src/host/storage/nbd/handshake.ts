/**
 * The beginning of a connection: fixed newstyle, STARTTLS where it is asked for, structured replies where the server has
 * them, GO, and EXPORT_NAME for servers that do not know GO. What the server says is bounded and checked.
 */
import type { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { HostError, OperatorError } from '../../../base/errors.ts';
import { ByteStream } from './byte-stream.ts';
import {
  HANDSHAKE_FLAG,
  INFO,
  NBD_MAGIC,
  OPT,
  OPTION_MAGIC,
  OPTION_REPLY_MAGIC,
  PAYLOAD_BYTES_DEFAULT,
  REP,
  REP_ERR,
  TRANSMISSION_FLAG,
} from './protocol.ts';
import { startTls } from './tls.ts';

/** Of one reply to an option. */
const REPLY_BYTES_MAX = 1 << 16;
const REPLIES_MAX = 64;
const EXPORT_NAME_ZEROES = 124;

export interface ExportInfo {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly canFlush: boolean;
  readonly canTrim: boolean;
  readonly canWriteZeroes: boolean;
  /** Offsets and sizes are multiples of this; a power of two. */
  readonly blockBytes: number;
  /** Of one read or write. */
  readonly payloadBytesMax: number;
}

export interface Handshake {
  readonly socket: Socket;
  readonly stream: ByteStream;
  readonly info: ExportInfo;
}

interface Reply {
  readonly type: number;
  readonly data: DataView;
}

/**
 * Throws OperatorError `nbd-export` or `nbd-tls` where the server does not give what is asked for, HostError where it does
 * not speak the protocol. `tls`: undefined for a plain connection. The socket is the caller's.
 */
export async function shakeHands(
  socket: Socket,
  exportName: string,
  tls: ConnectionOptions | undefined,
): Promise<Handshake> {
  let client = new Negotiation(socket);
  const noZeroes = await client.begin();
  if (tls !== undefined) {
    const reply = await client.option(OPT.STARTTLS);
    if (reply.type !== REP.ACK) throw refused('nbd-tls', exportName, reply, 'Use nbd://, or start it with TLS.');
    client = new Negotiation(await startTls(client.stream.release(), tls));
  }
  // Whoever does not have them says so, and answers simply.
  await client.option(OPT.STRUCTURED_REPLY);
  const info = (await client.go(exportName)) ?? (await client.exportName(exportName, noZeroes));
  return { socket: client.socket, stream: client.stream, info };
}

class Negotiation {
  readonly socket: Socket;
  readonly stream: ByteStream;

  constructor(socket: Socket) {
    this.socket = socket;
    this.stream = new ByteStream(socket);
  }

  /** Whether the zeros behind an export's description are left out. */
  async begin(): Promise<boolean> {
    const greeting = await this.stream.take(18);
    const flags = greeting.getUint16(16);
    if (greeting.getBigUint64(0) !== NBD_MAGIC || greeting.getBigUint64(8) !== OPTION_MAGIC) {
      throw wrong('it is no NBD server, or an old-style one');
    }
    if ((flags & HANDSHAKE_FLAG.FIXED_NEWSTYLE) === 0) throw wrong('it does not negotiate');
    const known = flags & (HANDSHAKE_FLAG.FIXED_NEWSTYLE | HANDSHAKE_FLAG.NO_ZEROES);
    const answer = new DataView(new ArrayBuffer(4));
    answer.setUint32(0, known);
    this.#send(answer);
    return (known & HANDSHAKE_FLAG.NO_ZEROES) !== 0;
  }

  /** The last reply to an option; `each` gets those before it. */
  async option(option: number, data: Uint8Array = new Uint8Array(), each?: (reply: Reply) => void): Promise<Reply> {
    this.#sendOption(option, data);
    for (let i = 0; i < REPLIES_MAX; i++) {
      const head = await this.stream.take(20);
      const type = head.getUint32(12);
      const length = head.getUint32(16);
      if (head.getBigUint64(0) !== OPTION_REPLY_MAGIC || head.getUint32(8) !== option)
        throw wrong('it answers out of turn');
      if (length > REPLY_BYTES_MAX) throw wrong(`it answers with ${length} bytes`);
      const reply = { type, data: await this.stream.take(length) };
      if (type === REP.ACK || type >= REP_ERR.UNSUP) return reply;
      each?.(reply);
    }
    throw wrong('it answers without end');
  }

  /** Undefined: the server does not know GO. */
  async go(name: string): Promise<ExportInfo | undefined> {
    const bytes = new TextEncoder().encode(name);
    const data = new DataView(new ArrayBuffer(bytes.length + 8));
    data.setUint32(0, bytes.length);
    new Uint8Array(data.buffer).set(bytes, 4);
    data.setUint16(4 + bytes.length, 1);
    data.setUint16(6 + bytes.length, INFO.BLOCK_SIZE);
    let described: DataView | undefined;
    let blocks: DataView | undefined;
    const reply = await this.option(OPT.GO, new Uint8Array(data.buffer), ({ type, data: info }) => {
      if (type !== REP.INFO || info.byteLength < 2) return;
      if (info.getUint16(0) === INFO.EXPORT && info.byteLength >= 12) described = info;
      if (info.getUint16(0) === INFO.BLOCK_SIZE && info.byteLength >= 14) blocks = info;
    });
    if (reply.type === REP_ERR.UNSUP) return undefined;
    if (reply.type !== REP.ACK) throw refused('nbd-export', name, reply, 'Look at what it has: nbdinfo --list URI');
    if (described === undefined) throw wrong('it does not say how large its export is');
    return exportInfo(described.getBigUint64(2), described.getUint16(10), blocks);
  }

  /** The older way: a server that has no such export closes the connection. */
  async exportName(name: string, noZeroes: boolean): Promise<ExportInfo> {
    this.#sendOption(OPT.EXPORT_NAME, new TextEncoder().encode(name));
    const described = await this.stream.take(10);
    if (!noZeroes) await this.stream.skip(EXPORT_NAME_ZEROES);
    return exportInfo(described.getBigUint64(0), described.getUint16(8), undefined);
  }

  #sendOption(option: number, data: Uint8Array): void {
    const head = new DataView(new ArrayBuffer(16));
    head.setBigUint64(0, OPTION_MAGIC);
    head.setUint32(8, option);
    head.setUint32(12, data.length);
    this.#send(head);
    this.socket.write(data);
  }

  #send(data: DataView): void {
    this.socket.write(new Uint8Array(data.buffer));
  }
}

function exportInfo(size: bigint, flags: number, blocks: DataView | undefined): ExportInfo {
  const sizeBytes = Number(size);
  if (!Number.isSafeInteger(sizeBytes)) throw wrong(`it exports ${size} bytes`);
  const least = blocks?.getUint32(2) ?? 1;
  const most = blocks?.getUint32(10) ?? PAYLOAD_BYTES_DEFAULT;
  if (least === 0 || (least & (least - 1)) !== 0 || least > 1 << 16 || most < least) {
    throw wrong(`it wants blocks of ${least} to ${most} bytes`);
  }
  const has = (flag: number): boolean => (flags & TRANSMISSION_FLAG.HAS_FLAGS) !== 0 && (flags & flag) !== 0;
  return {
    sizeBytes,
    readOnly: has(TRANSMISSION_FLAG.READ_ONLY),
    canFlush: has(TRANSMISSION_FLAG.SEND_FLUSH),
    canTrim: has(TRANSMISSION_FLAG.SEND_TRIM),
    canWriteZeroes: has(TRANSMISSION_FLAG.SEND_WRITE_ZEROES),
    blockBytes: least,
    payloadBytesMax: Math.min(most - (most % least), PAYLOAD_BYTES_DEFAULT),
  };
}

const REASONS: Readonly<Record<number, string>> = {
  [REP_ERR.POLICY]: 'it may not be used from here',
  [REP_ERR.TLS_REQD]: 'the server wants TLS (nbds://)',
  [REP_ERR.UNKNOWN]: 'the server has no such export',
  [REP_ERR.SHUTDOWN]: 'the server is shutting down',
  [REP_ERR.BLOCK_SIZE_REQD]: 'the server wants its block size to be asked for',
};

function refused(code: string, name: string, { type, data }: Reply, fix: string): OperatorError {
  const told = new TextDecoder().decode(new Uint8Array(data.buffer)).slice(0, 200);
  const reason = REASONS[type] ?? `the server refuses (error ${type - REP_ERR.UNSUP + 1})`;
  return new OperatorError(code, `NBD export ${JSON.stringify(name)}: ${reason}${told === '' ? '' : `: ${told}`}`, fix);
}

function wrong(how: string): HostError {
  return new HostError('nbd-protocol', `the NBD server does not speak as it must: ${how}`);
}
