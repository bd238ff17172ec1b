/**
 * Hostile snapshots: sound files with right checksums whose contents somebody has changed. What is not refused becomes a
 * machine, which may do what it likes, but never harms its process.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { zstdDecompressSync } from 'node:zlib';
import { CHUNK, CODEC, encodeChunkHeader, encodePrologue } from '../../machine/index.ts';
import { codecs } from './codecs.ts';

interface Chunk {
  readonly kind: number;
  readonly meta: Uint8Array;
  readonly data: Uint8Array;
}

/** The chunks of a file, unpacked. */
export function readChunks(path: string): Chunk[] {
  const bytes = readFileSync(path);
  const chunks: Chunk[] = [];
  for (let at = 16; at < bytes.length; ) {
    const word = (i: number): number => bytes.readUInt32LE(at + i * 4);
    const [kind, codec, metaBytes, storedBytes] = [word(0), word(2), word(3), word(4)];
    const meta = bytes.subarray(at + 32, at + 32 + metaBytes);
    const stored = bytes.subarray(at + 32 + metaBytes, at + 32 + metaBytes + storedBytes);
    chunks.push({ kind, meta, data: codec === CODEC.none ? stored : zstdDecompressSync(stored) });
    at += 32 + metaBytes + storedBytes;
  }
  return chunks;
}

export function writeChunks(path: string, chunks: readonly Chunk[]): void {
  const parts = chunks.flatMap(({ kind, meta, data }, i) => {
    const checksum = codecs.crc32(data, codecs.crc32(meta));
    const [metaBytes, storedBytes, dataBytes] = [meta.length, data.length, data.length];
    const header = { kind, codec: CODEC.none, metaBytes, storedBytes, dataBytes, checksum };
    return [encodeChunkHeader(header, i, codecs.crc32), meta, data];
  });
  writeFileSync(path, Buffer.concat([encodePrologue(codecs), ...parts]));
}

type Json = { [name: string]: unknown } | unknown[];

/** Changes one value somewhere in it; says which. */
export function mutate(json: Json, below: (limit: number) => number): string {
  const names = Object.keys(json);
  const name = names[below(Math.max(1, names.length))];
  if (name === undefined) return 'nothing';
  const at = json as { [name: string]: unknown };
  const value = at[name];
  if (typeof value === 'object' && value !== null && below(12) > 0) return `${name}.${mutate(value as Json, below)}`;
  const others: unknown[] = [
    0,
    1,
    -1,
    255,
    4096,
    2 ** 31,
    2 ** 32 - 1,
    '0',
    '1',
    `${2n ** 64n - 1n}`,
    '',
    null,
    [],
    {},
  ];
  if (typeof value === 'number') others.push(value ^ (1 << below(31)), (value + 1) >>> 0);
  if (typeof value === 'string' && /^\d+$/.test(value)) others.push(`${BigInt(value) ^ (1n << BigInt(below(64)))}`);
  at[name] = others[below(others.length)];
  return `${name} = ${JSON.stringify(at[name])}`;
}

/** A copy of the file with one value of its head or state changed. */
export function mutateFile(from: string, to: string, below: (limit: number) => number): string {
  let said = '';
  const chunks = readChunks(from).map((chunk) => {
    const isChosen = chunk.kind === (below(4) === 0 ? CHUNK.head : CHUNK.state);
    if (!isChosen || said !== '') return chunk;
    const json = JSON.parse(Buffer.from(chunk.data).toString()) as Json;
    said = mutate(json, below);
    return { ...chunk, data: Buffer.from(JSON.stringify(json)) };
  });
  writeChunks(to, chunks);
  return said;
}
