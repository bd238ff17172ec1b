/** Whatever fails and whenever: the guest runs in exactly one place, and there it is what it was. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Link } from './links.testing.ts';
import { Migration, Undecided } from './migration.ts';
import { PRE_COPY } from './pre-copy.ts';

interface Trial {
  readonly link: Link;
  readonly done: Promise<unknown>;
  /** Disks that both reach are the source's. */
  readonly owns: () => boolean;
  settled: 'went' | 'stays' | 'undecided' | undefined;
}

function migrate(link: Link, ask: () => Promise<'running' | 'never' | 'gone' | undefined>): Trial {
  let owns = true;
  const migration = new Migration(
    link.guest,
    link.source,
    {
      nowMs: () => link.time.nowMs(),
      after: (ms, act) => link.time.after(ms, act),
      letGo: async () => {
        owns = false;
      },
      takeBack: async () => {
        owns = true;
      },
      askOutcome: ask,
    },
    PRE_COPY,
  );
  link.handlers.message = (message) => migration.rounds.message(message);
  link.handlers.lost = (error) => migration.lost(error);
  const trial: Trial = {
    ...{ link, owns: () => owns, settled: undefined },
    done: migration.run({ mode: 'migration' }).then(
      (result) => {
        trial.settled = 'went';
        return result;
      },
      (error: unknown) => {
        trial.settled = error instanceof Undecided ? 'undecided' : 'stays';
        throw error;
      },
    ),
  };
  trial.done.catch(() => {});
  return trial;
}

/** Where the guest runs. */
function places({ link }: Trial): string {
  const here = link.guest.isRunning && !link.guest.isHeld;
  return [here ? 'here' : '', link.machine.isRunning ? 'there' : ''].join('');
}

test('a guest moves while it runs, and is there what it was here', async () => {
  const link = new Link(1);
  await link.live(50);
  const trial = migrate(link, async () => undefined);
  await link.until(() => trial.settled !== undefined, 'moved');
  assert.deepEqual([trial.settled, places(trial), trial.owns()], ['went', 'there', false]);
  assert.deepEqual(link.machine.moment(), link.guest.moments.get(link.machine.version));
  assert.equal(link.machine.version, link.guest.version);
  const result = (await trial.done) as { rounds: number; downtimeMs: number };
  assert.ok(result.rounds >= 2 && result.downtimeMs > 0);
});

/** The connection is cut at the so-manyeth message of one side, in the middle of it. */
async function cutAt(side: 0 | 1, count: number, seed: number): Promise<{ trial: Trial; wasCut: boolean }> {
  const link = new Link(seed);
  await link.live(20);
  let left = count;
  let wasCut = false;
  const wire = link.wires[side];
  wire.passes = () => {
    if (left-- > 0) return true;
    wasCut = true;
    return false;
  };
  const trial = migrate(link, async () => await link.target.outcome());
  await link.until(() => trial.settled !== undefined, 'settled');
  await link.time.advance(100);
  return { trial, wasCut };
}

for (const [side, name] of [
  [0, 'source'],
  [1, 'target'],
] as const)
  test(`the connection is cut at any word of the ${name}: one of the two runs it, with its disks`, async () => {
    const ends = new Set<string>();
    for (let count = 0; ; count++) {
      const { trial, wasCut } = await cutAt(side, count, 100 + count);
      const at = `word ${count}`;
      if (trial.settled === 'went') {
        assert.deepEqual([places(trial), trial.owns()], ['there', false], at);
        assert.deepEqual(trial.link.machine.moment(), trial.link.guest.moments.get(trial.link.machine.version), at);
      } else {
        assert.deepEqual([trial.settled, places(trial), trial.owns()], ['stays', 'here', true], at);
        assert.equal(trial.link.target.state === 'running', false, at);
        await assert.rejects(trial.link.target.promote(), { code: 'standby-not-ready' });
        const before = trial.link.guest.version;
        await trial.link.live(5);
        assert.equal(trial.link.guest.version, before + 5, at);
      }
      ends.add(trial.settled ?? '');
      if (!wasCut) break;
    }
    assert.deepEqual([...ends].sort(), ['stays', 'went']);
  });

test('the target cannot run it: it goes on here', async () => {
  const link = new Link(2);
  link.machine.failsToRun = true;
  await link.live(20);
  const trial = migrate(link, async () => undefined);
  await link.until(() => trial.settled !== undefined, 'settled');
  assert.deepEqual([trial.settled, places(trial), trial.owns()], ['stays', 'here', true]);
  await assert.rejects(trial.done, /cannot be opened/);
  assert.equal(link.machine.isDiscarded, true);
});

test('the target’s process is gone, with proof: it goes on here. Without, it stands still, and says so', async () => {
  for (const [answer, settled, where] of [
    ['gone', 'stays', 'here'],
    [undefined, 'undecided', ''],
  ] as const) {
    const link = new Link(3);
    await link.live(20);
    // The last word is heard by nobody.
    link.wires[0].passes = (bytes) => {
      if (link.target.state !== 'ready' || bytes > 40) return true;
      link.wires[0].cut();
      return true;
    };
    const trial = migrate(link, async () => answer);
    for (let i = 0; i < 300 && trial.settled === undefined; i++) await link.time.advance(100);
    assert.deepEqual([trial.settled, places(trial)], [settled, where]);
  }
});

test('a guest that writes faster than is copied is slowed down, and then stopped', async () => {
  const link = new Link(4, 30);
  const trial = migrate(link, async () => undefined);
  await link.until(() => trial.settled !== undefined, 'settled');
  assert.equal(trial.settled, 'went');
  assert.equal(link.guest.caps.at(-1), undefined, 'it has all of its processors there');
});
