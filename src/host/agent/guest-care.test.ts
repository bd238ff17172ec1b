import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { HostError, OperatorError } from '../../base/errors.ts';
import type { Beat } from './frames.ts';
import type { AgentKind, Frozen, GuestAgent } from './guest-agent.ts';
import { type CareOptions, GuestCare } from './guest-care.ts';
import { VirtualClock } from './virtual-clock.testing.ts';

/** An agent whose guest is the test. */
class FakeAgent implements GuestAgent {
  readonly kind: AgentKind;
  readonly version = '1';
  hasAnswered = false;
  isFrozen = false;
  beatsByItself = true;
  intervalMs = 0;
  pings = 0;
  readonly told: string[] = [];
  code = 0;
  freezes: () => Promise<Frozen> = async () => ({ count: 2, left: 1 });
  #heard: (beat: Beat) => void = () => {};
  onPresence: (() => void) | undefined;
  #ready = Promise.withResolvers<void>();

  constructor(kind: AgentKind) {
    this.kind = kind;
    this.#ready.promise.catch(() => undefined);
  }

  answer(): void {
    this.hasAnswered = true;
    this.#ready.resolve();
    this.onPresence?.();
  }

  leave(): void {
    this.hasAnswered = false;
    this.#ready = Promise.withResolvers<void>();
    this.onPresence?.();
  }

  fail(error: Error): void {
    this.#ready.reject(error);
  }

  async ready(signal?: AbortSignal): Promise<void> {
    const aborted = new Promise<never>((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
    await Promise.race([this.#ready.promise, aborted]);
  }

  async execute(argv: readonly string[]) {
    this.told.push(argv.join(' '));
    return { code: this.code, stdout: new Uint8Array(), stderr: new Uint8Array() };
  }

  async ping(): Promise<void> {
    this.pings += 1;
  }

  async shutdown(): Promise<void> {}

  async freeze(): Promise<Frozen> {
    const frozen = await this.freezes();
    this.isFrozen = true;
    this.told.push('freeze');
    return frozen;
  }

  async thaw(): Promise<number> {
    this.isFrozen = false;
    this.told.push('thaw');
    return 2;
  }

  beat(intervalMs: number, heard: (beat: Beat) => void): void {
    this.intervalMs = intervalMs;
    this.#heard = heard;
  }

  beats(sequence: number): void {
    this.#heard({ sequence });
  }

  tellHealth(word: string): void {
    this.told.push(`health ${word}`);
  }
}

function cared(more: Partial<CareOptions> = {}) {
  const clock = new VirtualClock();
  const [ours, qemu] = [new FakeAgent('kagemusha'), new FakeAgent('qemu')];
  qemu.beatsByItself = false;
  const world = { stands: false };
  const care = new GuestCare({
    ...{ agents: [ours, qemu], clock, standsStill: () => world.stands, wallMs: () => clock.nowMs() },
    ...more,
  });
  const events = async (): Promise<string[]> =>
    (await care.events(0, 0)).map(({ kind, from, to }) => `${kind} ${from} ${to}`);
  return { clock, ours, qemu, world, care, events };
}

const failsWith = (code: string) => (error: unknown) =>
  (error instanceof HostError || error instanceof OperatorError) && error.code === code;

describe('which agent is used', () => {
  test('the first that answers; ours as soon as it has answered', async () => {
    const { clock, ours, qemu, care, events } = cared();
    const asked = care.agent();
    qemu.answer();
    assert.equal((await asked).kind, 'qemu');
    assert.equal((await care.agent()).kind, 'qemu');
    ours.answer();
    assert.equal((await care.agent()).kind, 'kagemusha');
    await clock.pass(1);
    assert.equal(care.report().kind, 'kagemusha');
    assert.deepEqual(await events(), ['agent none qemu', 'agent qemu kagemusha']);
  });

  test('one that ended is not asked any more: the other is, or whoever comes next', async () => {
    const { ours, qemu, care, events } = cared();
    ours.answer();
    ours.leave();
    assert.equal(care.report().kind, 'kagemusha', 'it had that');
    const asked = care.agent();
    qemu.answer();
    assert.equal((await asked).kind, 'qemu');
    assert.equal(care.report().kind, 'qemu');
    ours.answer();
    ours.leave();
    assert.equal((await care.agent()).kind, 'qemu');
    assert.deepEqual(await events(), [
      ...['agent none kagemusha', 'agent kagemusha qemu', 'agent qemu kagemusha', 'agent kagemusha qemu'],
    ]);
  });

  test('none: whoever waits is told when the machine ends, or has enough', async () => {
    const { ours, care } = cared();
    const abort = new AbortController();
    const impatient = care.agent(abort.signal);
    abort.abort(new Error('enough'));
    await assert.rejects(impatient, /enough/);
    const waits = care.agent();
    ours.fail(new HostError('agent-closed', 'the machine has ended'));
    await assert.rejects(waits, failsWith('agent-closed'));
    assert.equal(care.report().kind, undefined);
  });
});

describe('the heart', () => {
  test('of an agent that beats by itself: nothing is asked, and it is told the interval', async () => {
    const { clock, ours, care, events } = cared({ heartbeatMs: 1000 });
    ours.answer();
    assert.equal(ours.intervalMs, 1000);
    for (let i = 1; i <= 5; i++) {
      await clock.pass(1000);
      ours.beats(i);
    }
    await clock.pass(10_000);
    assert.deepEqual([ours.pings, care.report().heartbeat.sequence], [0, 5]);
    assert.deepEqual((await events()).slice(2), [
      ...['heartbeat never-seen alive', 'heartbeat alive late', 'heartbeat late silent'],
    ]);
    care.setHeartbeat(0);
    assert.equal(ours.intervalMs, 0);
    care.close();
    assert.equal(clock.alarms, 0);
  });

  test('of one that does not: it is pinged', async () => {
    const { clock, qemu, care } = cared({ heartbeatMs: 1000 });
    await clock.pass(3000);
    assert.deepEqual([qemu.pings, care.report().heartbeat.state], [0, 'never-seen']);
    qemu.answer();
    await clock.pass(4000);
    assert.deepEqual([qemu.pings, care.report().heartbeat.state, care.report().heartbeat.sequence], [4, 'alive', 4]);
    care.setHeartbeat(100);
    await clock.pass(1000);
    assert.equal(qemu.pings, 14);
    care.setHeartbeat(0);
    await clock.pass(10_000);
    assert.equal(qemu.pings, 14);
  });

  test('stands still with the machine, whoever paused it', async () => {
    const { clock, ours, world, care } = cared({ heartbeatMs: 1000 });
    ours.answer();
    ours.beats(1);
    care.setPaused(true);
    care.setPaused(true);
    await clock.pass(100_000);
    care.setPaused(false);
    await clock.pass(1000);
    assert.equal(care.report().heartbeat.state, 'alive');
    world.stands = true; // a debugger, of whom nobody told
    await clock.pass(100_000);
    assert.equal(care.report().heartbeat.state, 'alive');
    world.stands = false;
    await clock.pass(100_000);
    assert.equal(care.report().heartbeat.state, 'silent');
  });

  test('beats at intervals that make sense alone', () => {
    const { care } = cared();
    for (const bad of [1, -1, 1.5, Number.NaN, 1e9])
      assert.throws(() => care.setHeartbeat(bad), failsWith('bad-heartbeat'));
    assert.throws(() => cared({ heartbeatMs: 5 }), failsWith('bad-heartbeat'));
  });
});

test('health is checked from the first answer on, and told: to the agent, and as an event', async () => {
  const { clock, ours, care, events } = cared({ health: { command: 'ok', intervalMs: 1000, retries: 1 } });
  await clock.pass(60_000);
  assert.deepEqual(ours.told, []);
  ours.answer();
  await clock.pass(1000);
  ours.code = 1;
  await clock.pass(1000);
  assert.deepEqual(ours.told, [
    ...['health starting', '/bin/sh -c ok', 'health healthy', '/bin/sh -c ok', 'health unhealthy'],
  ]);
  assert.deepEqual((await events()).slice(1), ['health starting healthy', 'health healthy unhealthy']);
  assert.equal(care.health()?.status, 'unhealthy');
  assert.equal(cared().care.health(), undefined);
});

describe('who waits for an event', () => {
  test('gets it when it comes, or nothing after its time', async () => {
    const { clock, ours, care } = cared();
    const waits = care.events(0, 10_000);
    await clock.pass(5000);
    ours.answer();
    await clock.pass(1);
    assert.deepEqual(
      (await waits).map(({ number, kind }) => `${number} ${kind}`),
      ['1 agent'],
    );
    const vainly = care.events(1, 10_000);
    await clock.pass(10_000);
    assert.deepEqual(await vainly, []);
    const over = care.events(1, 10_000);
    care.close();
    assert.deepEqual(await over, []);
    assert.equal(clock.alarms, 0);
  });
});

describe('quiescing', () => {
  test('freezes, acts, thaws; no check of health is made meanwhile', async () => {
    const { clock, ours, care, events } = cared({ health: { command: 'ok', intervalMs: 1000 } });
    ours.answer();
    await clock.pass(1);
    const { result, frozen } = await care.quiesced(async (check) => {
      check();
      await clock.pass(30_000);
      assert.equal(ours.isFrozen, true);
      return 'done';
    });
    assert.deepEqual([result, frozen], ['done', { count: 2, left: 1 }]);
    assert.deepEqual(ours.told, ['health starting', 'freeze', 'thaw']);
    assert.deepEqual((await events()).slice(1), ['freeze thawed frozen', 'freeze frozen thawed']);
  });

  test('whatever becomes of what is done, the guest is thawed', async () => {
    const { ours, care } = cared();
    ours.answer();
    await assert.rejects(
      care.quiesced(async () => {
        throw new Error('the disk is full');
      }),
      /the disk is full/,
    );
    assert.equal(ours.isFrozen, false);
  });

  test('a guest that cannot, has no agent, or thawed before the moment that counts: not quiesced, and nothing taken', async () => {
    const { clock, ours, care } = cared();
    let taken = 0;
    const take = async (check: () => void): Promise<void> => {
      check();
      taken += 1;
    };
    const alone = care.quiesced(take);
    alone.catch(() => undefined);
    await clock.pass(60_001);
    await assert.rejects(alone, failsWith('not-quiesced'));
    ours.answer();
    ours.freezes = async () => {
      throw new HostError('freeze-no-fsfreeze', 'the guest has no fsfreeze');
    };
    await assert.rejects(care.quiesced(take), /not quiesced: the guest has no fsfreeze/);
    ours.freezes = async () => ({ count: 1, left: 0 });
    await assert.rejects(
      care.quiesced(async (check) => {
        ours.isFrozen = false;
        await take(check);
      }),
      failsWith('not-quiesced'),
    );
    await assert.rejects(
      care.quiesced(async (check) => {
        await clock.pass(60_001);
        await take(check);
      }),
      failsWith('not-quiesced'),
    );
    assert.equal(taken, 0);
    await care.quiesced(take);
    assert.equal(taken, 1);
  });

  test('one after the other', async () => {
    const { ours, care } = cared();
    ours.answer();
    await Promise.all([care.quiesced(async () => 1), care.quiesced(async () => 2)]);
    assert.deepEqual(ours.told, ['freeze', 'thaw', 'freeze', 'thaw']);
  });
});
