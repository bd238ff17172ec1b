import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GuestAgent } from '../agent/index.ts';
import type { ExecOptions, ExecResult } from './machine-api.ts';
import { Readdressing } from './readdressing.ts';

/** A guest that does what the test says, when it says so. */
async function fakeGuest() {
  const log: string[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<ExecResult>();
  let asked: ExecOptions | undefined;
  const agent: Pick<GuestAgent, 'execute'> = {
    execute: (_argv, options) => {
      asked = options;
      return promise;
    },
  };
  const readdressing = new Readdressing(Uint8Array.of(0x52, 0x54, 0, 1, 2, 3));
  const care = { agent: async () => agent as GuestAgent };
  readdressing.begin({ setLinkUp: (up) => log.push(up ? 'up' : 'down') }, care);
  await turn();
  assert.equal(asked?.environment?.['MAC'], '52:54:00:01:02:03');
  const says = (text: string): void => asked?.onStdout?.(new TextEncoder().encode(text));
  const ends = (code: number): void => resolve({ code, stdout: new Uint8Array(), stderr: new Uint8Array() });
  const settled = readdressing.settled().then(() => log.push('settled'));
  return { log, readdressing, says, ends, fails: () => reject(new Error('it ended')), settled };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('the link comes up when the guest has its address, and commands begin when it sees the link', async () => {
  const { log, says, ends, settled, readdressing } = await fakeGuest();
  await turn();
  assert.deepEqual(log, [], 'who sends now would lose it');
  says('set\n');
  await turn();
  assert.deepEqual(log, ['up'], 'the guest may not have seen it yet');
  ends(0);
  await settled;
  assert.deepEqual(log, ['up', 'settled']);
  await readdressing.settled();
});

test('a guest that cannot take its address has commands all the same, and no link', async () => {
  for (const end of ['refuses', 'ends'] as const) {
    const { log, ends, fails, settled } = await fakeGuest();
    if (end === 'refuses') ends(1);
    else fails();
    await settled;
    assert.deepEqual(log, ['settled']);
  }
});

test('who waits for the link may give up; one that was asked for nothing has nobody wait', async () => {
  const { readdressing } = await fakeGuest();
  const abort = new AbortController();
  const waiting = assert.rejects(readdressing.settled(abort.signal), /enough/);
  abort.abort(new Error('enough'));
  await waiting;
  await new Readdressing(new Uint8Array(6)).settled();
});
