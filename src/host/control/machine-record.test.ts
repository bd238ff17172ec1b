import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { FakeMachine } from './fake-machine.testing.ts';
import { followLog, keepRecord, readExitRecord, readLogTail } from './machine-record.ts';

const root = mkdtempSync(join(tmpdir(), 'kagemusha-record-'));
after(() => rmSync(root, { recursive: true, force: true }));
let number = 0;
const home = (): string => join(root, String(number++));

/** A machine whose record is kept. */
function recorded(folder: string): FakeMachine {
  const machine = new FakeMachine({ name: 'web' });
  machine.say('before ');
  keepRecord(machine, folder);
  return machine;
}

describe('the record of a machine', () => {
  test('what its console said, before it was kept too, over its end and its next life', async () => {
    const folder = home();
    const first = recorded(folder);
    first.say('one\n');
    assert.equal(readExitRecord(folder), undefined);
    first.end({ reason: 'failure', code: 3, message: 'so it is' });
    await first.exited;
    const exit = readExitRecord(folder);
    assert.deepEqual([exit?.reason, exit?.code, exit?.message, exit?.pid], ['failure', 3, 'so it is', process.pid]);
    recorded(folder).say('two\n');
    assert.equal(readExitRecord(folder), undefined, 'it runs again');
    assert.equal(readLogTail(folder)?.toString(), 'before one\nbefore two\n');
    assert.equal(statSync(join(folder, 'console.log')).mode & 0o777, 0o600);
  });

  test('is bounded, whatever a guest says', () => {
    const folder = home();
    const machine = recorded(folder);
    for (let i = 0; i < 300; i++) machine.say(`${'x'.repeat(64 << 10)}${i}\n`);
    const sizes = readdirSync(folder).map((name) => statSync(join(folder, name)).size);
    assert.deepEqual(readdirSync(folder).sort(), ['console.log', 'console.log.1', 'console.log.2', 'console.log.3']);
    assert.ok(sizes.every((size) => size <= 2 << 20));
    const tail = readLogTail(folder, 2)?.toString() ?? '';
    assert.deepEqual(tail.replaceAll(/x+/g, '').split('\n'), ['298', '299', '']);
  });

  test('that is gone, or is nonsense, is none', () => {
    const folder = home();
    assert.equal(readLogTail(folder), undefined);
    assert.equal(readExitRecord(folder), undefined);
    const machine = recorded(folder);
    writeFileSync(join(folder, 'exit.json'), '{"reason":"poweroff","code":1e9}');
    assert.equal(readExitRecord(folder), undefined);
    rmSync(folder, { recursive: true });
    machine.say('nobody hears');
    machine.end({ reason: 'poweroff', code: 0 });
  });
});

describe('lines from the end', () => {
  for (const [text, lines, expected] of [
    ['a\nb\nc\n', 2, 'b\nc\n'],
    ['a\nb\nc', 2, 'b\nc'],
    ['a\nb\nc\n', 0, ''],
    ['a\nb\nc\n', 9, 'a\nb\nc\n'],
    ['\n\n\n', 1, '\n'],
    ['', 3, ''],
  ] as const) {
    test(`${lines} of ${JSON.stringify(text)}`, () => {
      const folder = home();
      const machine = new FakeMachine({});
      keepRecord(machine, folder);
      machine.say(text);
      assert.equal(readLogTail(folder, lines)?.toString(), expected);
    });
  }
});

test('a log is followed over the change of its files, to its end', async () => {
  const folder = home();
  const machine = new FakeMachine({});
  keepRecord(machine, folder);
  machine.say('first\nsecond\n');
  let goesOn = true;
  const pieces: Uint8Array[] = [];
  const following = (async () => {
    for await (const piece of followLog(folder, 1, () => goesOn, new AbortController().signal)) pieces.push(piece);
  })();
  for (let i = 0; i < 40; i++) {
    machine.say(`${'y'.repeat(128 << 10)}${i}\n`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  goesOn = false;
  await following;
  const text = Buffer.concat(pieces).toString().replaceAll(/y+/g, '');
  assert.deepEqual(text.trim().split('\n'), ['second', ...Array.from({ length: 40 }, (_, i) => String(i))]);
});
