import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HostError, OperatorError } from '../../base/errors.ts';
import { encodeRequest, ProtocolError, type Reply, ReplyReader } from './frames.ts';
import { commandScript } from './script.ts';
import { AgentSession, type AgentSessionOptions } from './session.ts';

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

function read(stream: Uint8Array, cutEvery: number, synchronized = true): Reply[] {
  const reader = new ReplyReader();
  reader.synchronized = synchronized;
  const replies: Reply[] = [];
  for (let at = 0; at < stream.length; at += cutEvery)
    reader.push(stream.subarray(at, at + cutEvery), (reply) => replies.push(reply));
  return replies;
}

test('requests are lines, with data behind those that carry it', () => {
  assert.equal(text(encodeRequest({ verb: 'hello', nonce: 'n' })), '\nhello 1 n\n');
  assert.equal(text(encodeRequest({ verb: 'in', id: 7, data: Buffer.from('a\nb') })), 'in 7 3\na\nb');
  assert.equal(text(encodeRequest({ verb: 'kill', id: 7, signal: 'TERM' })), 'kill 7 TERM\n');
  assert.equal(text(encodeRequest({ verb: 'eof', id: 7 })), 'eof 7\n');
  assert.equal(text(encodeRequest({ verb: 'beat', intervalMs: 250 })), 'beat 250\n');
  assert.equal(text(encodeRequest({ verb: 'health', word: 'healthy' })), 'health healthy\n');
  assert.equal(text(encodeRequest({ verb: 'freeze', id: 7, limitMs: 60_000 })), 'freeze 7 60000\n');
  assert.equal(text(encodeRequest({ verb: 'thaw', id: 8 })), 'thaw 8\n');
  const restored = { verb: 'restored', wallMs: 1_790_000_000_042, entropy: Uint8Array.of(0, 171, 255) } as const;
  assert.equal(text(encodeRequest(restored)), 'restored 1790000000 042 00abff\n');
  const longest = encodeRequest({ ...restored, entropy: new Uint8Array(64) });
  assert.ok(longest.length <= 256, 'a line has no room for more');
});

test('replies are read alike however the stream is cut', () => {
  const stream = Buffer.from(
    'ready 1 n b-0\nstarted 3 99\nout 3 6\nend 3\nerr 3 1\n\nexit 3 255\nend 3\nerror - unknown-verb\n',
    'latin1',
  );
  const whole = read(stream, stream.length);
  assert.deepEqual(
    whole.map(({ verb }) => verb),
    ['ready', 'started', 'out', 'err', 'exit', 'end', 'error'],
  );
  const [, , out, err] = whole;
  assert.ok(out?.verb === 'out' && err?.verb === 'err');
  assert.deepEqual([text(out.data), text(err.data)], ['end 3\n', '\n']);
  for (let cut = 1; cut < stream.length; cut += 1) assert.deepEqual(read(stream, cut), whole);
});

test('what is not the protocol is refused: words, numbers, lengths, lines without end', () => {
  const bad = [
    'nonsense',
    'out 3',
    'out 3 0',
    'out 3 65537',
    'out 3 -1',
    'out 03 5',
    'out x 5',
    'exit 3 256',
    'exit 3',
    'ready 1 n',
    'ready 1 n b c',
    'end 3 ',
    'end',
    ' end 3',
    'took 9999999999',
    'pong ',
    'x'.repeat(256),
    'beat 1 2 3 -',
    'beat 1 2.5 0.00 -',
    'beat 1 2.50 0.00',
    'beat 01 2.50 0.00 -',
    'beat 1 99999999999.00 0.00 -',
    'beat 1 -2.50 0.00 -',
    'frozen 1 2',
    'frozen 1 100001 0',
    'frozen - 1 0',
    'thawed 1',
    'thawed 1 x',
    'expired',
  ];
  for (const line of bad) assert.throws(() => read(Buffer.from(`${line}\n`), 1000), ProtocolError, line);
  assert.throws(() => read(Buffer.alloc(1000, 'x'), 7), ProtocolError);
});

test('before the hello is answered, all of that is passed over', () => {
  const stream = Buffer.from(`half a frame\nout 3 5\n${'y'.repeat(5000)}\nexit 3 999\n\nready 1 n b\n`);
  assert.deepEqual(read(stream, 11, false), [{ verb: 'ready', version: 1, nonce: 'n', bootId: 'b' }]);
});

test('quoting: every word is one word of sh, and what cannot be a word is refused', () => {
  const script = commandScript({ argv: ['a b', "it's", ''], env: { K: "'" }, cwd: '-d' });
  assert.equal(text(script), "cd './-d' || exit 126\nexec env -- 'K='\\''' 'a b' 'it'\\''s' ''\n");
  for (const command of [
    { argv: [] },
    { argv: [''] },
    { argv: ['a\0b'] },
    { argv: ['a'], env: { 'x=y': '' } },
    { argv: ['a'], env: { '': '' } },
    { argv: ['a', 'x'.repeat(1 << 20)] },
  ]) {
    assert.throws(
      () => commandScript(command),
      (error) => error instanceof OperatorError && error.code === 'bad-command',
    );
  }
});

/** A session whose guest is the test, and whose clock stands until it is told. */
function session(more: Partial<AgentSessionOptions> = {}): {
  session: AgentSession;
  written: string[];
  say: (line: string) => void;
  tick: () => void;
} {
  const written: string[] = [];
  let timers: (() => void)[] = [];
  const clock = {
    after(_delayMs: number, callback: () => void): () => void {
      timers.push(callback);
      return () => {
        timers = timers.filter((one) => one !== callback);
      };
    },
  };
  const made = new AgentSession({ write: (bytes) => written.push(text(bytes)) }, { clock, nonce: 'n', ...more });
  const tick = (): void => {
    for (const callback of timers.splice(0)) callback();
  };
  return { session: made, written, say: (line) => made.onData(Buffer.from(`${line}\n`, 'latin1')), tick };
}

test('hello is said again until it is answered; another version ends the session', async () => {
  const one = session();
  one.tick();
  assert.deepEqual(one.written, ['\nhello 1 n\n', '\nhello 1 n\n']);
  one.say('ready 1 other b');
  one.say('ready 1 n b');
  assert.deepEqual(await one.session.ready(), { version: 1, bootId: 'b' });
  one.tick();
  assert.equal(one.written.length, 2);
  const two = session();
  two.say('ready 2 n b');
  await assert.rejects(two.session.ready(), (error) => error instanceof HostError && error.code === 'agent-version');
});

test('a guest that breaks the protocol ends the session and all that waits', async () => {
  const { session: made, say } = session();
  say('ready 1 n b');
  const execution = made.exec({ argv: ['true'] });
  const ping = made.ping();
  await made.ready();
  say('out 1 99999999');
  for (const promise of [execution.ended, ping]) {
    await assert.rejects(promise, (error) => error instanceof HostError && error.code === 'agent-protocol');
  }
  assert.throws(() => made.exec({ argv: ['true'] }), /guest agent/);
  made.onData(Buffer.from('ready 1 n b\n'));
});

test('an agent that starts anew fails what was running, and serves on', async () => {
  const { session: made, written, say } = session();
  say('ready 1 - b');
  say('ready 1 n b');
  const lost = made.exec({ argv: ['sleep', '9'] });
  await made.ready();
  say('started 1 10');
  say('ready 1 - c');
  await assert.rejects(lost.ended, (error) => error instanceof HostError && error.code === 'agent-restarted');
  const next = made.exec({ argv: ['true'] });
  await made.ready();
  assert.ok(written.at(-1)?.startsWith('exec 2 '));
  say('exit 2 0');
  say('end 2');
  assert.deepEqual(await next.ended, { exitCode: 0 });
});

test('an agent that was ended in the middle of a frame does not take what the next one says with it', async () => {
  const { session: made, say } = session();
  say('ready 1 n b');
  const lost = made.exec({ argv: ['yes'] });
  await made.ready();
  say('out 1 5000\nyes');
  made.cut();
  say('ready 1 - b');
  await assert.rejects(lost.ended, (error) => error instanceof HostError && error.code === 'agent-restarted');
});

test('an agent that ended is not there: commands are for the one that opens the port next, and first words are said once', async () => {
  const { session: made, written, say, tick } = session({ firstWords: () => [{ verb: 'health', word: 'once' }] });
  say('ready 1 n b');
  assert.deepEqual([made.hasAnswered, written.at(-1)], [true, 'health once\n']);
  const lost = made.exec({ argv: ['true'] });
  made.cut();
  await assert.rejects(lost.ended, (error) => error instanceof HostError && error.code === 'agent-restarted');
  assert.equal(made.hasAnswered, false);
  const later = made.exec({ argv: ['true'] });
  await new Promise((resolve) => setImmediate(resolve));
  const silence = written.length;
  tick();
  assert.equal(written.length, silence, 'nobody is there to be greeted');
  made.greet();
  assert.deepEqual(written.slice(silence), ['\nhello 1 n\n']);
  say('ready 1 n c');
  assert.deepEqual(await made.ready(), { version: 1, bootId: 'c' });
  assert.ok(written.at(-1)?.startsWith('exec 2 '));
  assert.equal(written.filter((one) => one.startsWith('health ')).length, 1);
  say('exit 2 0');
  say('end 2');
  assert.deepEqual(await later.ended, { exitCode: 0 });
});

test('frames for nobody are counted, refused commands rejected, output after the end dropped', async () => {
  const { session: made, say } = session();
  say('ready 1 n b');
  const output: string[] = [];
  const refused = made.exec({ argv: ['true'] });
  const held = made.exec({ argv: ['daemon'], onStdout: (bytes) => output.push(text(bytes)) });
  await made.ready();
  say('error 1 bad-frame');
  await assert.rejects(refused.ended, /bad-frame/);
  say('end 55');
  say('started 2 10');
  say('out 2 1\nx');
  say('exit 2 4');
  say('out 2 1\ny');
  say('held 2');
  say('out 2 1\nz');
  assert.deepEqual(await held.ended, { exitCode: 4 });
  assert.deepEqual([output, made.counters], [['x', 'y'], { strayFrames: 2, errors: 1 }]);
});

test('no more input is on the way than the agent has slots for', async () => {
  const { session: made, written, say } = session();
  say('ready 1 n b');
  const execution = made.exec({ argv: ['cat'] });
  await made.ready();
  const writing = execution.writeStdin(new Uint8Array(32768 * 10));
  execution.closeStdin();
  const sent = (): number => written.filter((frame) => frame.startsWith('in ')).length;
  assert.equal(sent(), 0);
  say('started 1 10');
  assert.equal(sent(), 8);
  say('took 1');
  assert.equal(sent(), 9);
  assert.ok(!written.includes('eof 1\n'));
  say('took 1');
  await writing;
  assert.deepEqual([sent(), written.at(-1)], [10, 'eof 1\n']);
});

test('a patient session says hello when it is time, or when somebody wants the agent', () => {
  const wants = [
    undefined,
    (of: AgentSession) => void of.ready(),
    (of: AgentSession) => void of.exec({ argv: ['ls'] }),
  ];
  for (const want of wants) {
    const said: string[] = [];
    const alarms: { readonly delayMs: number; readonly callback: () => void }[] = [];
    const after = (delayMs: number, callback: () => void): (() => void) => {
      alarms.push({ delayMs, callback });
      return () => {};
    };
    const session = new AgentSession(
      { write: (bytes) => said.push(text(bytes)) },
      { nonce: 'n', clock: { after }, firstHelloMs: 300 },
    );
    session.greet();
    assert.deepEqual([said, alarms.map(({ delayMs }) => delayMs)], [[], [300]]);
    if (want === undefined) alarms[0]?.callback();
    else want(session);
    assert.equal(said.filter((words) => words.includes('hello 1 n')).length, 1);
    session.greet();
    assert.equal(said.filter((words) => words.includes('hello 1 n')).length, 2, 'the port was opened anew');
  }
});

test('the first words come before any command, once the agent has answered', async () => {
  const said: string[] = [];
  const session = new AgentSession(
    { write: (bytes) => said.push(text(bytes)) },
    {
      nonce: 'n',
      clock: { after: () => () => {} },
      firstId: 41,
      firstWords: () => [{ verb: 'restored', wallMs: 1000, entropy: Uint8Array.of(1) }],
    },
  );
  session.exec({ argv: ['ls'] });
  session.tell({ verb: 'restored', wallMs: 2000, entropy: Uint8Array.of(2) });
  session.onData(Buffer.from('\nready 1 - boot\n'));
  assert.equal(said.length, 1, 'an agent that starts has answered nobody');
  session.greet();
  session.onData(Buffer.from('ready 1 n boot\n'));
  session.greet();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(
    said.map((words) =>
      words
        .split('\n')
        .find((line) => line !== '')
        ?.replace(/ \d+$/, ''),
    ),
    ['hello 1', 'hello 1', 'restored 1 000', 'exec 41'].map((line) => (line.startsWith('hello') ? `${line} n` : line)),
  );
  assert.equal(session.nextId, 42);
  session.tell({ verb: 'restored', wallMs: 3000, entropy: Uint8Array.of(3) });
  assert.equal(said.at(-1), 'restored 3 000 03\n');
});

test('beats are heard, the interval said to every agent that begins anew, and taken back from one that nobody told', () => {
  const { session: made, written, say } = session();
  const heard: unknown[] = [];
  say('ready 1 n b');
  say('beat 7 12.50 0.25 healthy');
  assert.equal(written.at(-1), 'beat 0\n', 'an earlier host had it beat');
  made.beat(250, (beat) => heard.push(beat));
  say('beat 8 12.75 0.00 -');
  say('beat 9 13.00 1.50 unhealthy');
  assert.deepEqual(heard, [
    { sequence: 8, uptimeSeconds: 12.75, load: 0 },
    { sequence: 9, uptimeSeconds: 13, load: 1.5, health: 'unhealthy' },
  ]);
  made.tellHealth('healthy');
  say('ready 1 - b');
  assert.deepEqual(written.slice(-3), ['beat 250\n', 'health healthy\n', 'beat 250\n']);
});

test('file systems are frozen until they are thawed, or the guest says that their time is over', async () => {
  const { session: made, written, say } = session();
  say('ready 1 n b');
  const frozen = made.freeze(5000);
  await made.ready();
  assert.deepEqual([written.at(-1), made.isFrozen], ['freeze 1 5000\n', false]);
  say('frozen 1 3 1');
  assert.deepEqual([await frozen, made.isFrozen], [{ count: 3, left: 1 }, true]);
  const thawed = made.thaw();
  await made.ready();
  say('thawed 2 3');
  assert.deepEqual([await thawed, made.isFrozen], [3, false]);
  const again = made.freeze(5000);
  await made.ready();
  say('frozen 3 3 1');
  await again;
  say('expired 1');
  assert.equal(made.isFrozen, true, 'of an earlier freeze');
  say('expired 3');
  assert.equal(made.isFrozen, false);
  const refused = made.freeze(5000);
  await made.ready();
  say('error 4 no-fsfreeze');
  await assert.rejects(refused, (error) => error instanceof HostError && error.code === 'freeze-no-fsfreeze');
  const lost = made.freeze(5000);
  await made.ready();
  say('ready 1 - b');
  await assert.rejects(lost, (error) => error instanceof HostError && error.code === 'agent-restarted');
});

test('an agent of before that: known when it was asked', async () => {
  const { session: made, say } = session();
  say('ready 1 n b');
  const frozen = made.freeze(5000);
  await made.ready();
  say('error - unknown-verb');
  const isTooOld = (error: unknown): boolean => error instanceof HostError && error.code === 'agent-too-old';
  await assert.rejects(frozen, isTooOld);
  await assert.rejects(made.thaw(), isTooOld);
  assert.equal(made.isOld, true);
  say('ready 1 - c');
  assert.equal(made.isOld, false, 'it may have been renewed');
});
