/**
 * Engines, kept in the user's cache folder: to generate one takes a tenth of a second, in which no hart runs. What is
 * kept is what generating gives, the module and the decode tables, by the build of this program and by everything that
 * they follow from. A file that is damaged, or of another build, is as none; where the folder cannot be written to, each
 * machine generates its own.
 *
 *   SHA-256 of the rest, 32 bytes | v8.serialize of a KeptEngine
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { type EngineCode, generateEngine, PLAN, type Policy } from '../../engine/index.ts';
import type { MemoryDescription } from '../../wasm/index.ts';

export interface EngineWish {
  readonly description: MemoryDescription;
  readonly extensions: ReadonlySet<string>;
  readonly emulated: ReadonlySet<string>;
  readonly policies: readonly Policy[];
}

/** A generated engine. */
export interface ReadyEngine extends Pick<EngineCode, 'bytes' | 'signatures'> {
  /** Writes its tables to their places in a new machine's memory. */
  writeTables(buffer: ArrayBufferLike): void;
}

interface KeptEngine extends Pick<EngineCode, 'bytes' | 'signatures'> {
  /** The tables' blocks that are not all zero, by their places in the machine's memory. */
  readonly blocks: readonly { readonly at: number; readonly bytes: Uint8Array<ArrayBuffer> }[];
}

const DIGEST_BYTES = 32;
/** Tables begin at multiples of this. */
const BLOCK_BYTES = 1024;
/** An engine is for a size of memory and a set of extensions: few have more of them in use. */
const MOST_KEPT = 8;

/** The engine from the folder, or a new one, which is put there. Without a build's name nothing is kept. */
export function readyEngine(wish: EngineWish, folder: string, build: string | undefined): ReadyEngine {
  // Policies are tables of names: that is seldom, and is made anew.
  if (build === undefined || wish.policies.length > 0) return generate(wish);
  const { description, extensions, emulated } = wish;
  const named = JSON.stringify([build, description, [...extensions].sort(), [...emulated].sort()]);
  const path = join(folder, createHash('sha256').update(named).digest('hex').slice(0, 32));
  const kept = read(path);
  if (kept !== undefined) return { ...kept, writeTables: (buffer) => writeBlocks(buffer, kept.blocks) };
  const made = generate(wish);
  const tables = new Uint8Array(PLAN.frameTable);
  made.writeTables(tables.buffer);
  keep(folder, path, { bytes: made.bytes, signatures: made.signatures, blocks: blocksOf(tables) });
  return made;
}

function generate({ description, extensions, emulated, policies }: EngineWish): ReadyEngine {
  const { bytes, signatures, tables } = generateEngine(description, extensions, emulated);
  const writeTables = (buffer: ArrayBufferLike): void => {
    tables.write(buffer);
    tables.writePolicies(buffer, policies);
  };
  return { bytes, signatures, writeTables };
}

function blocksOf(tables: Uint8Array<ArrayBuffer>): KeptEngine['blocks'] {
  const blocks = [];
  for (let at = 0; at < tables.length; at += BLOCK_BYTES) {
    const bytes = tables.slice(at, at + BLOCK_BYTES);
    if (bytes.some((byte) => byte !== 0)) blocks.push({ at, bytes });
  }
  return blocks;
}

function writeBlocks(buffer: ArrayBufferLike, blocks: KeptEngine['blocks']): void {
  const memory = new Uint8Array(buffer);
  for (const { at, bytes } of blocks) memory.set(bytes, at);
}

function read(path: string): KeptEngine | undefined {
  try {
    const file = readFileSync(path);
    const contents = file.subarray(DIGEST_BYTES);
    if (!digest(contents).equals(file.subarray(0, DIGEST_BYTES))) return undefined;
    return deserialize(contents) as KeptEngine;
  } catch {
    return undefined;
  }
}

/** Puts it there whole, or not at all, and lets the oldest go. */
function keep(folder: string, path: string, engine: KeptEngine): void {
  const temporary = `${path}.${process.pid}`;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const contents = serialize(engine);
    writeFileSync(temporary, Buffer.concat([digest(contents), contents]), { mode: 0o600 });
    renameSync(temporary, path);
    const all = readdirSync(folder).map((name) => ({ name, ms: statSync(join(folder, name)).mtimeMs }));
    all.sort((a, b) => b.ms - a.ms);
    for (const { name } of all.slice(MOST_KEPT)) rmSync(join(folder, name), { force: true });
  } catch {
    try {
      rmSync(temporary, { force: true });
    } catch {
      // There is no such folder.
    }
  }
}

function digest(contents: Uint8Array): Buffer {
  return createHash('sha256').update(contents).digest();
}
