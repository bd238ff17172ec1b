/**
 * The server's side of the beginning of a connection (the NBD project's doc/proto.md): fixed newstyle, GO and EXPORT_NAME, and where
 * TLS is wanted STARTTLS before them. What a client may say is bounded in length and number. Structured replies, INFO and everything
 * else is refused, so that clients do without; LIST is refused by policy: whoever does not know the name of a disk has none.
 */
import type { Socket } from 'node:net';
import { HostError } from '../../../base/errors.ts';
import { ByteStream } from '../nbd/byte-stream.ts';
import type { ExportInfo } from '../nbd/handshake.ts';
import {
  HANDSHAKE_FLAG,
  INFO,
  NBD_MAGIC,
  OPT,
  OPTION_MAGIC,
  OPTION_REPLY_MAGIC,
  REP,
  REP_ERR,
  TRANSMISSION_FLAG,
} from '../nbd/protocol.ts';

const OPTIONS_MAX = 64;
const OPTION_BYTES_MAX = 8192;
const EXPORT_NAME_ZEROES = 124;
const PREFERRED_BLOCK_BYTES = 4096;

/** Why an export is not given; the option goes back with it, and the client may ask for another. */
export class Refusal {
  readonly type: number;
  readonly text: string;
  constructor(type: number, text: string) {
    this.type = type;
    this.text = text;
  }
}

export interface Hands<T> {
  /** The client's, from now on: its own, or the one by TLS. */
  readonly socket: Socket;
  readonly stream: ByteStream;
  readonly chosen: T;
}

/**
 * Negotiates until `choose` gives what a client asks for by its name, and returns that; undefined when the client was sent away.
 * `secure`: makes TLS of its socket; where it is given nothing is chosen before, and nothing that was said before counts. Throws
 * HostError where the client does not speak the protocol, and what `secure` does; the socket is the caller's.
 */
export async function receiveHands<T extends { readonly info: ExportInfo }>(
  client: Socket,
  choose: (name: string) => Promise<T | Refusal>,
  secure?: (socket: Socket) => Promise<Socket>,
): Promise<Hands<T> | undefined> {
  let socket = client;
  let stream = new ByteStream(socket);
  let mayChoose = secure === undefined;
  const greeting = new DataView(new ArrayBuffer(18));
  greeting.setBigUint64(0, NBD_MAGIC);
  greeting.setBigUint64(8, OPTION_MAGIC);
  greeting.setUint16(16, HANDSHAKE_FLAG.FIXED_NEWSTYLE | HANDSHAKE_FLAG.NO_ZEROES);
  socket.write(new Uint8Array(greeting.buffer));
  const flags = (await stream.take(4)).getUint32(0);
  if (flags > 3 || (flags & HANDSHAKE_FLAG.FIXED_NEWSTYLE) === 0) throw wrong('flags of no known meaning');
  const noZeroes = (flags & HANDSHAKE_FLAG.NO_ZEROES) !== 0;
  for (let i = 0; i < OPTIONS_MAX; i++) {
    const head = await stream.take(16);
    const length = head.getUint32(12);
    if (head.getBigUint64(0) !== OPTION_MAGIC) throw wrong('no option');
    if (length > OPTION_BYTES_MAX) throw wrong(`an option of ${length} bytes`);
    const option = head.getUint32(8);
    const data = await stream.take(length);
    const reply = (type: number, body?: Uint8Array): void => writeReply(socket, option, type, body);
    if (option === OPT.ABORT) {
      reply(REP.ACK);
      break;
    }
    if (option === OPT.STARTTLS && secure !== undefined) {
      if (mayChoose || length > 0) {
        reply(REP_ERR.INVALID);
        continue;
      }
      // Somebody in between could have put it there, for us to take it as said by TLS.
      if (!stream.isEmpty) throw wrong('something behind STARTTLS');
      reply(REP.ACK);
      socket = await secure(stream.release());
      stream = new ByteStream(socket);
      mayChoose = true;
    } else if (option === OPT.EXPORT_NAME) {
      const chosen = mayChoose ? await choose(textOf(data, 0, length)) : undefined;
      // There is no other way to say no.
      if (chosen === undefined || chosen instanceof Refusal) break;
      writeExport(socket, chosen.info, noZeroes);
      return { socket, stream, chosen };
    } else if (!mayChoose) reply(REP_ERR.TLS_REQD);
    else if (option === OPT.GO) {
      const name = nameToGo(data);
      const chosen = name === undefined ? new Refusal(REP_ERR.INVALID, 'no such option') : await choose(name);
      if (chosen instanceof Refusal) reply(chosen.type, new TextEncoder().encode(chosen.text));
      else {
        writeInfo(reply, chosen.info);
        return { socket, stream, chosen };
      }
    } else reply(option === OPT.LIST ? REP_ERR.POLICY : REP_ERR.UNSUP);
  }
  // What was answered still reaches a client that reads.
  socket.destroySoon();
  return undefined;
}

/** Undefined: lengths that do not fit. */
function nameToGo(data: DataView): string | undefined {
  if (data.byteLength < 6) return undefined;
  const length = data.getUint32(0);
  if (length > data.byteLength - 6) return undefined;
  const infos = data.getUint16(4 + length);
  return data.byteLength === 6 + length + infos * 2 ? textOf(data, 4, length) : undefined;
}

function textOf(data: DataView, at: number, length: number): string {
  return new TextDecoder().decode(new Uint8Array(data.buffer, at, length));
}

function writeReply(socket: Socket, option: number, type: number, body: Uint8Array = new Uint8Array()): void {
  const head = new DataView(new ArrayBuffer(20));
  head.setBigUint64(0, OPTION_REPLY_MAGIC);
  head.setUint32(8, option);
  head.setUint32(12, type);
  head.setUint32(16, body.length);
  socket.write(Buffer.concat([new Uint8Array(head.buffer), body]));
}

/** Sizes of blocks are told whether they were asked for or not, as other servers do. */
function writeInfo(reply: (type: number, body?: Uint8Array) => void, info: ExportInfo): void {
  const described = new DataView(new ArrayBuffer(12));
  described.setUint16(0, INFO.EXPORT);
  described.setBigUint64(2, BigInt(info.sizeBytes));
  described.setUint16(10, transmissionFlags(info));
  reply(REP.INFO, new Uint8Array(described.buffer));
  const blocks = new DataView(new ArrayBuffer(14));
  blocks.setUint16(0, INFO.BLOCK_SIZE);
  blocks.setUint32(2, info.blockBytes);
  blocks.setUint32(6, Math.max(info.blockBytes, Math.min(PREFERRED_BLOCK_BYTES, info.payloadBytesMax)));
  blocks.setUint32(10, info.payloadBytesMax);
  reply(REP.INFO, new Uint8Array(blocks.buffer));
  reply(REP.ACK);
}

function writeExport(socket: Socket, info: ExportInfo, noZeroes: boolean): void {
  const described = new DataView(new ArrayBuffer(10 + (noZeroes ? 0 : EXPORT_NAME_ZEROES)));
  described.setBigUint64(0, BigInt(info.sizeBytes));
  described.setUint16(8, transmissionFlags(info));
  socket.write(new Uint8Array(described.buffer));
}

/** What the server behind has, but for FUA and several connections to one export: each has a connection of its own behind. */
function transmissionFlags({ readOnly, canFlush, canTrim, canWriteZeroes }: ExportInfo): number {
  return (
    TRANSMISSION_FLAG.HAS_FLAGS |
    (readOnly ? TRANSMISSION_FLAG.READ_ONLY : 0) |
    (canFlush ? TRANSMISSION_FLAG.SEND_FLUSH : 0) |
    (canTrim && !readOnly ? TRANSMISSION_FLAG.SEND_TRIM : 0) |
    (canWriteZeroes && !readOnly ? TRANSMISSION_FLAG.SEND_WRITE_ZEROES : 0)
  );
}

function wrong(what: string): HostError {
  return new HostError('nbd-protocol', `the NBD client sends ${what}`);
}
