import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { HostError, OperatorError } from '../../../base/errors.ts';
import { FakeQemuAgent, refuse } from './fake-agent.testing.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
const failsWith = (code: string) => (error: unknown) =>
  (error instanceof HostError || error instanceof OperatorError) && error.code === code;

/** One whose commands end as `status` says. */
function executing(status: (polls: number) => unknown) {
  let polls = 0;
  return new FakeQemuAgent({
    'guest-exec': () => ({ pid: 77 }),
    'guest-exec-status': () => {
      polls += 1;
      return status(polls);
    },
  });
}

describe('the conversation', () => {
  test('begins when the guest opens its port: number, then what it is', async () => {
    const fake = new FakeQemuAgent();
    const ready = fake.agent.ready();
    await fake.clock.pass(5000);
    assert.deepEqual(fake.asked, []);
    fake.conversation.opened();
    await ready;
    assert.deepEqual(
      fake.asked.map(({ execute }) => execute),
      ['guest-sync-delimited', 'guest-info'],
    );
    assert.deepEqual([fake.agent.version, fake.agent.hasAnswered], ['10.0.2', true]);
    await fake.agent.ping();
    assert.equal(fake.clock.alarms, 0, 'nothing waits any more');
  });

  test('is begun anew each second until it is answered with its own number', async () => {
    const fake = new FakeQemuAgent({ 'guest-sync-delimited': () => undefined });
    fake.conversation.opened();
    await fake.clock.pass(2500);
    const ids = fake.asked.map((one) => one.arguments['id']);
    assert.equal(new Set(ids).size, 3);
    fake.say(Buffer.concat([Uint8Array.of(0xff), Buffer.from(`{"return": ${String(ids[1])}}\n`)]));
    assert.equal(fake.agent.hasAnswered, false);
    fake.say(Buffer.concat([Uint8Array.of(0xff), Buffer.from(`{"return": ${String(ids[2])}}\n`)]));
    await fake.agent.ready();
  });

  test('an answer that comes too late is nobody else’s', async () => {
    const fake = executing(() => ({ exited: true }));
    fake.answers = { ...fake.answers, 'guest-ping': () => undefined };
    fake.conversation.opened();
    const first = fake.agent.ping();
    first.catch(() => undefined);
    const second = fake.agent.execute(['true']);
    await fake.clock.pass(14_999);
    assert.equal(fake.agent.hasAnswered, true);
    // It is synchronized anew before anything else is asked, and what was said before that is dropped.
    const asked = fake.asked.length;
    await fake.clock.pass(1);
    await assert.rejects(first, failsWith('agent-silent'));
    fake.say('{"return": {}}\n');
    await fake.clock.pass(2000);
    assert.equal((await second).code, 0);
    assert.equal(fake.asked[asked]?.execute, 'guest-sync-delimited');
  });

  test('the guest closes its port: what was asked fails, and what is asked waits for the next', async () => {
    const fake = new FakeQemuAgent({ 'guest-ping': () => undefined });
    fake.conversation.opened();
    await fake.agent.ready();
    const lost = fake.agent.ping();
    await fake.clock.pass(1);
    fake.conversation.closed();
    await assert.rejects(lost, failsWith('agent-restarted'));
    fake.answers = { 'guest-info': () => ({ version: '11' }) };
    const next = fake.agent.ping();
    fake.conversation.opened();
    await next;
    fake.conversation.end();
    await assert.rejects(fake.agent.ping(), failsWith('agent-closed'));
    assert.equal(fake.clock.alarms, 0);
  });

  test('a guest that goes on elsewhere is thawed, and told time and random bytes, whatever of it fails', async () => {
    const wallMs = 1_790_000_000_123;
    const fake = new FakeQemuAgent(
      { 'guest-set-time': () => refuse('hwclock failed'), 'guest-exec': () => ({ pid: 1 }) },
      { restored: () => ({ wallMs, entropy: Uint8Array.of(1, 2, 3) }) },
    );
    fake.conversation.opened();
    await fake.agent.ready();
    assert.deepEqual(
      fake.asked.map(({ execute }) => execute),
      ['guest-sync-delimited', 'guest-info', 'guest-fsfreeze-thaw', 'guest-set-time', 'guest-exec'],
    );
    assert.match(fake.lines[3] ?? '', /"time":1790000000123000000\}/);
    assert.equal(fake.asked[4]?.arguments['input-data'], 'AQID');
  });
});

describe('commands', () => {
  test('their words, environment, folder and input go at once; their end comes by asking', async () => {
    const fake = executing((polls) =>
      polls < 4
        ? { exited: false }
        : { exited: true, exitcode: 3, 'out-data': base64('out'), 'err-data': base64('err') },
    );
    fake.conversation.opened();
    const options = { environment: { K: "it's" }, workingFolder: '/srv', stdin: Buffer.from('given') };
    const running = fake.agent.execute(['echo', 'a b'], options);
    await fake.clock.pass(3000);
    const { code, stdout, stderr } = await running;
    assert.deepEqual([code, text(stdout), text(stderr)], [3, 'out', 'err']);
    const { path, arg, ...rest } = fake.asked.find(({ execute }) => execute === 'guest-exec')?.arguments ?? {};
    assert.deepEqual(rest, { 'capture-output': true, 'input-data': base64('given') });
    assert.equal(path, 'setsid');
    const [shell, flag, script] = arg as string[];
    assert.deepEqual([shell, flag], ['/bin/sh', '-c']);
    assert.match(script ?? '', /cd '\/srv' \|\| exit 126\nexec env -- 'K=it'\\''s' 'echo' 'a b'\n/);
  });

  test('a signal is 128 and its number; output goes to who takes it; what was cut is told', async () => {
    const killed = executing(() => ({ exited: true, signal: 9, 'out-data': base64('bytes') }));
    killed.conversation.opened();
    const taken: string[] = [];
    const running = killed.agent.execute(['x'], { onStdout: (bytes) => taken.push(text(bytes)) });
    await killed.clock.pass(1000);
    const { code, stdout } = await running;
    assert.deepEqual([code, stdout.length, taken], [137, 0, ['bytes']]);
    const cut = executing(() => ({ exited: true, exitcode: 0, 'out-truncated': true }));
    cut.conversation.opened();
    await assert.rejects(Promise.race([cut.agent.execute(['x']), cut.clock.pass(1000)]), failsWith('output-cut'));
  });

  test('what is refused says so in the words of the guest', async () => {
    const fake = new FakeQemuAgent({ 'guest-exec': () => refuse('Command guest-exec has been disabled') });
    fake.conversation.opened();
    await assert.rejects(fake.agent.execute(['x']), /agent says: Command guest-exec has been disabled/);
    await assert.rejects(fake.agent.execute(['x'.repeat(130_000)]), failsWith('bad-command'));
    await assert.rejects(
      fake.agent.execute(['x'], { stdin: new Uint8Array((16 << 20) + 1) }),
      failsWith('input-too-long'),
    );
  });

  test('on abort its process group is killed', async () => {
    const fake = executing(() => ({ exited: false }));
    fake.conversation.opened();
    const abort = new AbortController();
    const running = fake.agent.execute(['sleep', '9'], { signal: abort.signal });
    running.catch(() => undefined);
    await fake.clock.pass(500);
    abort.abort(new Error('enough'));
    await assert.rejects(running, /enough/);
    await fake.clock.pass(5);
    assert.deepEqual(fake.asked.at(-1)?.arguments['arg'], ['-c', 'kill -KILL -77']);
  });

  test('input that is under way is waited for; one that never begins is none; one that begins later ends the command', async () => {
    const slow = executing(() => ({ exited: true }));
    slow.conversation.opened();
    async function* pieces() {
      yield Buffer.from('a');
      await new Promise<void>((resolve) => slow.clock.after(5000, resolve));
      yield Buffer.from('b');
    }
    const running = slow.agent.execute(['cat'], { stdin: pieces() });
    await slow.clock.pass(6000);
    assert.equal((await running).code, 0);
    const inputOf = (fake: FakeQemuAgent) =>
      fake.asked.find(({ execute }) => execute === 'guest-exec')?.arguments['input-data'];
    assert.equal(inputOf(slow), base64('ab'));

    const never = executing((polls) => ({ exited: polls > 1 }));
    never.conversation.opened();
    const late = Promise.withResolvers<Uint8Array>();
    async function* terminal() {
      yield await late.promise;
    }
    const alone = never.agent.execute(['uptime'], { stdin: terminal() });
    await never.clock.pass(1000);
    assert.equal((await alone).code, 0);
    assert.equal(inputOf(never), undefined);

    const waits = executing(() => ({ exited: false }));
    waits.conversation.opened();
    const asks = waits.agent.execute(['sh'], { stdin: terminal() });
    asks.catch(() => undefined);
    await waits.clock.pass(1000);
    late.resolve(Buffer.from('ls\n'));
    await waits.clock.pass(1);
    await assert.rejects(asks, failsWith('input-too-late'));
    await waits.clock.pass(5);
    assert.deepEqual(waits.asked.at(-1)?.arguments['arg'], ['-c', 'kill -KILL -77']);
  });
});

describe('freezing', () => {
  test('and thawing count file systems; a host that forgets thaws all the same', async () => {
    const fake = new FakeQemuAgent({ 'guest-fsfreeze-freeze': () => 3, 'guest-fsfreeze-thaw': () => 3 });
    fake.conversation.opened();
    assert.deepEqual(await fake.agent.freeze(60_000), { count: 3, left: 0 });
    assert.equal(fake.agent.isFrozen, true);
    assert.equal(await fake.agent.thaw(), 3);
    await fake.agent.freeze(60_000);
    const before = fake.asked.length;
    await fake.clock.pass(60_000);
    assert.deepEqual(
      [fake.agent.isFrozen, fake.asked.slice(before).map(({ execute }) => execute)],
      [false, ['guest-fsfreeze-thaw']],
    );
  });

  test('one that fails, or is not told of in time, is undone', async () => {
    const fake = new FakeQemuAgent({
      'guest-fsfreeze-freeze': () => refuse('failed to freeze /'),
      'guest-fsfreeze-thaw': () => 0,
    });
    fake.conversation.opened();
    await assert.rejects(fake.agent.freeze(60_000), /failed to freeze/);
    assert.equal(fake.asked.at(-1)?.execute, 'guest-fsfreeze-thaw');
    fake.answers = { ...fake.answers, 'guest-fsfreeze-freeze': () => undefined };
    const frozen = fake.agent.freeze(5000);
    frozen.catch(() => undefined);
    await fake.clock.pass(6000);
    await assert.rejects(frozen, failsWith('agent-silent'));
    assert.equal(fake.asked.at(-1)?.execute, 'guest-fsfreeze-thaw');
    assert.equal(fake.agent.isFrozen, false);
  });
});

test('hostile answers are errors of the one command, and the next is answered', async () => {
  const huge = Number.MAX_SAFE_INTEGER;
  const bad = {
    'guest-exec': [null, 7, [], {}, { pid: 0 }, { pid: -1 }, { pid: 1.5 }, { pid: '7' }, { pid: huge }],
    'guest-exec-status': [
      ...[null, {}, { exited: 'yes' }, { exited: true, exitcode: 'x' }, { exited: true, exitcode: huge }],
      ...[
        { exited: true, signal: 256 },
        { exited: true, 'out-data': 7 },
        { exited: true, 'out-data': 'a' },
      ],
      ...[
        { exited: true, 'out-data': 'a===' },
        { exited: true, 'err-data': '\u00e4\u00e4\u00e4\u00e4' },
      ],
    ],
  } as const;
  for (const [command, answers] of Object.entries(bad))
    for (const answer of answers) {
      const fake = executing(() => ({ exited: true }));
      fake.conversation.opened();
      fake.answers = { ...fake.answers, [command]: () => answer };
      const running = fake.agent.execute(['x']);
      running.catch(() => undefined);
      await fake.clock.pass(1000);
      await assert.rejects(running, failsWith('agent-protocol'), `${command} ${JSON.stringify(answer)}`);
      await fake.agent.ping();
    }
});

test('noise of every kind ends no process and keeps nothing', async () => {
  let seed = 12_345;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const pieces = [
    '{"return": ',
    '{"error": ',
    '}',
    '\n',
    '[',
    ']',
    '"',
    '\\',
    '9'.repeat(400),
    '-1e999',
    'null',
    '{"pid": 5}',
    '\xff',
  ];
  for (let round = 0; round < 300; round++) {
    const fake = new FakeQemuAgent({ 'guest-ping': () => undefined });
    fake.conversation.opened();
    const ping = fake.agent.ping();
    ping.catch(() => undefined);
    await fake.clock.pass(1);
    for (let i = 0; i < 40; i++) fake.say(Buffer.from(pieces[random(pieces.length)] ?? '', 'latin1'));
    fake.answers = { 'guest-info': () => ({ version: '10' }) };
    await fake.clock.pass(20_000);
    await fake.agent.ping();
    fake.conversation.end();
    assert.equal(fake.clock.alarms, 0);
  }
});
