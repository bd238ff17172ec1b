/**
 * A hostile client: by a seed, messages of every type with fields that are now and then right, cut, torn, of lengths that
 * lie, many at a time. What must hold, whatever it says:
 *
 *     every message is answered, under its tag, within the room that there was | no error is ours |
 *     what lies beside the folder is as it was | after a reset nothing is open
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { Random } from '../../devices/virtio/random.testing.ts';
import { message, text, u8, u16, u32, u64 } from './client.testing.ts';
import { MESSAGE } from './message.ts';
import type { Fixture } from './shares.testing.ts';

type Field = Parameters<typeof message>[2][number];

/** What a run met, to see that it gets anywhere. */
export interface FuzzOutcome {
  readonly answers: number;
  /** Answers that are no errors, by type of the request. */
  readonly done: ReadonlySet<number>;
}

/** What is in the folder at first: some of everything, with ways out. */
export function furnish(fixture: Fixture): void {
  mkdirSync(fixture.path('d', 'e'), { recursive: true });
  for (const name of ['f', 'd/f', 'd/e/f']) writeFileSync(fixture.path(name), 'inside');
  symlinkSync(`${fixture.outside}/secret`, fixture.path('out'));
  symlinkSync(fixture.outside, fixture.path('d', 'up'));
  symlinkSync('../../..', fixture.path('d', 'e', 'dots'));
  execFileSync('mkfifo', [fixture.path('pipe')]);
}

export async function fuzz(
  fixture: Fixture,
  seed: number,
  messages: number,
  atOnce: 'while-fast' | 'never',
): Promise<FuzzOutcome> {
  const chance = new Random(seed);
  const { share, session } = fixture.host({ atOnce, descriptors: 200 });
  const done = new Set<number>();
  const pending = new Set<Promise<void>>();
  let answers = 0;
  for (let i = 0; i < messages; i++) {
    const request = hostileRequest(chance, fixture);
    const reply = new Uint8Array(chance.pick([11, 12, 40, 200, 4096, 8192]));
    const [type, tag] = [request[4] as number, new DataView(request.buffer, request.byteOffset).getUint16(5, true)];
    const check = (length: number): void => {
      const view = new DataView(reply.buffer);
      assert.ok(length >= 7 && length <= reply.length, `seed ${seed}: ${length} bytes for type ${type}`);
      assert.equal(view.getUint32(0, true), length);
      assert.equal(view.getUint16(5, true), tag);
      assert.ok(reply[4] === type + 1 || reply[4] === MESSAGE.lerror + 1);
      answers++;
      if (reply[4] === type + 1 && type !== MESSAGE.lerror) done.add(type);
    };
    const answer = session.answer(request, reply);
    if (typeof answer === 'number') check(answer);
    else {
      const waited = answer.then(check).finally(() => pending.delete(waited));
      pending.add(waited);
    }
    if (chance.oneIn(20)) await Promise.all(pending);
    if (chance.oneIn(200)) session.reset();
  }
  await Promise.all(pending);
  assert.equal(answers, messages, `seed ${seed}`);
  assert.equal(session.counters.internalErrors, 0, `seed ${seed}: ${(session.lastInternalError as Error)?.stack}`);
  assert.ok(fixture.isOutsideUntouched, `seed ${seed}`);
  session.reset();
  assert.equal(share.open, 1, `seed ${seed}: something stays open`);
  share.close();
  assert.equal(share.open, 0);
  return { answers, done };
}

const types: readonly number[] = Object.values(MESSAGE);

/** Much walking about, and seldom what ends it all. */
function typeOf(chance: Random): number {
  if (chance.oneIn(4)) return MESSAGE.walk;
  if (chance.oneIn(12)) return MESSAGE.attach;
  if (chance.oneIn(100)) return chance.below(256);
  const type = chance.pick(types);
  const isEnd = type === MESSAGE.version || type === MESSAGE.remove || type === MESSAGE.unlinkat;
  return isEnd && !chance.oneIn(4) ? MESSAGE.readlink : type;
}

function hostileRequest(chance: Random, fixture: Fixture): Uint8Array {
  const type = typeOf(chance);
  const tag = chance.oneIn(4) ? chance.below(4) : chance.below(0x1_0000);
  const fields = chance.oneIn(30) ? [] : fieldsOf(type, chance, fixture);
  const bytes = message(type, tag, fields);
  if (chance.oneIn(20)) {
    // Not of the header's tag and type, by which answers are told apart.
    const at = 7 + chance.below(Math.max(1, bytes.length - 7));
    if (at < bytes.length) bytes[at] = chance.u32();
  }
  if (chance.oneIn(30))
    new DataView(bytes.buffer, bytes.byteOffset).setUint32(
      0,
      chance.pick([0, 6, 8, 0xffff_ffff, bytes.length + 1]),
      true,
    );
  return chance.oneIn(30) ? bytes.slice(0, 7 + chance.below(Math.max(1, bytes.length - 6))) : bytes;
}

function fieldsOf(type: number, chance: Random, fixture: Fixture): Field[] {
  const fid = (): Field => u32(chance.oneIn(40) ? chance.pick([0xffff_ffff, chance.u32()]) : chance.below(10));
  const names = [
    ...[
      'f',
      'd',
      'e',
      'out',
      'up',
      'dots',
      'pipe',
      'new',
      'new2',
      '\xff\x80',
      '.',
      '..',
      '',
      '/',
      'd/f',
      '../outside/secret',
    ],
    ...[`${fixture.outside}/secret`, 'x'.repeat(255), 'x'.repeat(256), 'nul\0', 'secret'],
  ];
  const name = (): Field => text(chance.oneIn(3) ? chance.pick(names) : chance.pick(names.slice(0, 9)));
  const number = (): number => chance.pick([0, 1, 2, 100, 4096, 65_536, 0x7fff_ffff, 0xffff_ffff, chance.u32()]);
  const wide = (): Field =>
    u64(BigInt(chance.pick([0, 0, 1, 5, 4096, 2 ** 31, 2 ** 40])) + (chance.oneIn(20) ? 2n ** 63n : 0n));
  const flags = (): Field =>
    u32(chance.oneIn(10) ? chance.u32() : chance.pick([0, 1, 2, 3, 0o102, 0o302, 0o1001, 0o2001]));
  const mode = (): Field => u32(chance.pick([0o644, 0o755, 0o7777, 0o40755, 0, chance.u32()]));
  switch (type) {
    case MESSAGE.version:
      return [u32(chance.pick([8192, 65_536, 0xffff_ffff, 100])), text(chance.oneIn(5) ? '9P2000.u' : '9P2000.L')];
    case MESSAGE.attach:
      return [fid(), u32(chance.oneIn(5) ? 0 : 0xffff_ffff), name(), name(), u32(chance.oneIn(2) ? 0 : number())];
    case MESSAGE.walk: {
      const count = chance.oneIn(20) ? chance.below(30) : chance.below(4);
      return [fid(), fid(), u16(chance.oneIn(30) ? 0xffff : count), ...Array.from({ length: count }, name)];
    }
    case MESSAGE.lopen:
      return [fid(), flags()];
    case MESSAGE.lcreate:
      return [fid(), name(), flags(), mode(), u32(0)];
    case MESSAGE.symlink:
      return [fid(), name(), text(chance.pick([...names, fixture.outside, '../..'])), u32(0)];
    case MESSAGE.mkdir:
      return [fid(), name(), mode(), u32(0)];
    case MESSAGE.mknod:
      return [fid(), name(), mode(), u32(1), u32(3), u32(0)];
    case MESSAGE.rename:
      return [fid(), fid(), name()];
    case MESSAGE.renameat:
      return [fid(), name(), fid(), name()];
    case MESSAGE.link:
      return [fid(), fid(), name()];
    case MESSAGE.unlinkat:
      return [fid(), name(), u32(chance.pick([0, 0x200, chance.u32()]))];
    case MESSAGE.setattr: {
      const valid = u32(chance.pick([1, 8, 0x10, 0x20, 0x90, 0x120, 0x1b0, chance.below(0x200)]));
      // Of the owners that there are: root may run this.
      return [fid(), valid, mode(), u32(0), u32(0), wide(), wide(), wide(), wide(), wide()];
    }
    case MESSAGE.readdir:
    case MESSAGE.read:
      return [fid(), wide(), u32(number())];
    case MESSAGE.write: {
      const data = new Uint8Array(chance.pick([0, 1, 100, 3000])).fill(0x61);
      return [fid(), wide(), u32(chance.oneIn(10) ? number() : data.length), data];
    }
    case MESSAGE.flush:
      return [u16(chance.below(4))];
    case MESSAGE.lock:
    case MESSAGE.getlock:
      return [fid(), u8(chance.below(4)), ...(type === MESSAGE.lock ? [u32(0)] : []), wide(), wide(), u32(1), name()];
    case MESSAGE.fsync:
      return [fid(), u32(chance.below(2))];
    default:
      return [fid(), u64(0x7ff), name()];
  }
}
