import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { HostError } from '../src/base/errors.ts';
import { withBuiltImports } from '../tools/bundle.ts';
import { allWorkloads, classes, classOf, selectWorkloads, shorten, workloadsIn } from './classes.ts';
import { ResultReader, type Sample, type Session } from './measure.ts';
import { replaceBetweenMarks } from './report.ts';
import { parseMappings } from './resident.ts';
import { brokenBounds, evaluate, geometricMean, median } from './results.ts';

const all = ['integer/crc32', 'integer/mix', 'float/dgemm', 'boot/shell'];

describe('workloads', () => {
  test('are read from the table at the end of a program', () => {
    const source = 'x("no") const struct workload workloads[] = {\n\t{"a-1", f, 3},\n\t{"b", g, 4},\n\t{0},\n};\n';
    assert.deepEqual(workloadsIn(source, 'p'), ['p/a-1', 'p/b']);
  });

  test('every class has some, and no name is there twice', async () => {
    const found = await allWorkloads();
    assert.deepEqual(
      [...new Set(found.map(classOf))],
      classes.map((one) => one.name),
    );
    assert.equal(new Set(found.map((workload) => workload.split('/')[1])).size, found.length);
  });

  const selections: readonly [wanted: string, selected: string[]][] = [
    ['integer', ['integer/crc32', 'integer/mix']],
    ['mix', ['integer/mix']],
    ['dgemm,integer/mix', ['integer/mix', 'float/dgemm']],
    ['boot', ['boot/shell']],
  ];
  for (const [wanted, selected] of selections) {
    test(`${wanted} selects ${selected}`, () => assert.deepEqual(selectWorkloads(all, wanted), selected));
  }

  test('a name that is none is told', () => {
    assert.throws(() => selectWorkloads(all, 'integer,intger'), { code: 'bench-unknown', message: /intger/ });
  });

  test('a class that is wanted whole is one word', () => {
    assert.deepEqual(shorten(all, ['integer/crc32', 'integer/mix', 'float/dgemm']), ['integer', 'float']);
    assert.deepEqual(shorten(all, ['integer/mix']), ['integer/mix']);
  });
});

describe('what a guest says', () => {
  const read = (...lines: string[]) => {
    const reader = new ResultReader();
    for (const [i, line] of lines.entries())
      reader.line(line, { wallMs: 1000 * i, cpuMs: 700 * i }, { instructions: 500 * i, refills: 20 * i, walks: i });
    return reader;
  };

  test("of a second level is told apart, and its end is not the session's", () => {
    const result = (name: string): string => `${name} 7 00000000000000ff 1.250000000`;
    const first = ['level 1', 'program integer', 'begin mix', result('mix')];
    const second = ['level 2', 'program integer', 'begin mix', result('mix'), 'bench: done'];
    const reader = read(...first, ...second);
    assert.deepEqual(
      reader.samples.map(({ workload }) => workload),
      ['1/integer/mix', '2/integer/mix'],
    );
    assert.equal(reader.isDone, false);
    assert.equal(read(...first, ...second, 'level 0', 'bench: done').isDone, true);
  });

  test('is taken by program and workload, with the instructions between beginning and result', () => {
    const reader = read('program integer', 'begin mix', 'mix 7 00000000000000ff 1.250000000', 'bench: done');
    assert.deepEqual(reader.samples, [
      {
        workload: 'integer/mix',
        iterations: 7,
        checksum: '00000000000000ff',
        seconds: 1.25,
        wholeSeconds: 1,
        cpuSeconds: 0.7,
        instructions: 500,
        refills: 20,
        walks: 1,
      },
    ]);
    assert.equal(reader.isDone, true);
  });

  test('a result that nothing began is none, nor is noise', () => {
    assert.deepEqual(read('program integer', 'mix 7 00000000000000ff 1.25', 'begin mix', '[ 0.1] mix 7').samples, []);
  });

  test('a program that fails is remembered', () => {
    assert.equal(read('failed /bench/float b', 'failed again 1').failure, 'failed /bench/float b');
  });
});

function sample(workload: string, seconds: number, more: Partial<Sample> = {}): Sample {
  return {
    workload,
    iterations: 1,
    checksum: 'f',
    seconds,
    wholeSeconds: seconds,
    cpuSeconds: seconds,
    instructions: 3e8,
    ...more,
  };
}

function session(peakBytes: number, ...samples: Sample[]): Session {
  return { samples, peakBytes, stats: [] };
}

describe('figures', () => {
  test('medians, ratios, means with and without the cap, memory', () => {
    const results = evaluate({
      qemu: [1, 9, 2].map((seconds) => session(100, sample('integer/a', seconds), sample('integer/b', 90))),
      ours: [4, 1, 8].map((seconds) => session(50 + seconds, sample('integer/a', seconds), sample('integer/b', 1))),
    });
    const [integer] = results.classes;
    assert.deepEqual(
      integer?.workloads.map((one) => one.ratio),
      [0.5, 90],
    );
    assert.equal(integer?.geometricMean.toFixed(6), Math.sqrt(0.5 * 10).toFixed(6));
    assert.equal(integer?.uncappedMean.toFixed(6), Math.sqrt(0.5 * 90).toFixed(6));
    assert.equal(integer?.least, 0.5);
    assert.deepEqual([results.qemuPeakBytes, results.ourPeakBytes], [100, 58]);
    // 75 million a second for four seconds, and 300 million for one.
    assert.equal(results.integerMips, (75 * 4 + 300) / 5);
  });

  test('machines that disagree are an error, whoever is right', () => {
    const runs = (checksum: string, iterations: number) => ({
      qemu: [session(1, sample('integer/a', 1))],
      ours: [session(1, sample('integer/a', 1)), session(1, sample('integer/a', 1, { checksum, iterations }))],
    });
    assert.throws(() => evaluate(runs('e', 1)), HostError);
    assert.throws(() => evaluate(runs('f', 2)), HostError);
    evaluate(runs('f', 1));
  });

  test('bounds: slow integer code and a slow way to the shell are told, and nothing else', () => {
    const with_ = (instructions: number, shellSeconds: number) =>
      evaluate({
        qemu: [session(1, sample('integer/a', 1), sample('boot/shell', 1))],
        ours: [session(1, sample('integer/a', 1, { instructions }), sample('boot/shell', shellSeconds))],
      });
    assert.deepEqual(brokenBounds(with_(200e6, 4)), []);
    assert.match(brokenBounds(with_(199e6, 4)).join(), /^integer code runs at 199 million[^,]*, less than 200$/);
    assert.match(brokenBounds(with_(200e6, 4.1)).join(), /^the shell takes 4\.1 times QEMU's time, more than 4$/);
  });

  test('a shell that is late by the clock alone is the doing of others', () => {
    const results = evaluate({
      qemu: [session(1, sample('boot/shell', 1))],
      ours: [session(1, sample('boot/shell', 9, { cpuSeconds: 2 }))],
    });
    assert.equal(results.classes[0]?.cpuMean.toFixed(6), '0.500000');
    assert.deepEqual(brokenBounds(results), []);
  });

  test('processor times too short to say anything are left out', () => {
    const results = evaluate({
      qemu: [session(1, sample('rewrite/a', 1))],
      ours: [session(1, sample('rewrite/a', 0.5, { cpuSeconds: 0.001 }))],
    });
    assert.equal(results.classes[0]?.workloads[0]?.cpuRatio, 2);
  });

  test('median and geometric mean', () => {
    assert.deepEqual([median([3, 1, 2]), median([4, 1, 3, 2])], [2, 2.5]);
    assert.equal(geometricMean([2, 8]).toFixed(9), '4.000000000');
  });
});

test('the report goes between the marks, and nothing else changes', () => {
  const document = 'a\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nb\n';
  assert.equal(replaceBetweenMarks(document, 'new'), 'a\n<!-- bench:begin -->\nnew\n<!-- bench:end -->\nb\n');
  assert.throws(() => replaceBetweenMarks('a', 'new'), { code: 'bench-document' });
});

describe('memory', () => {
  test('of a process is read from smaps', () => {
    const smaps = [
      '00400000-00c00000 r-xp 00000000 fe:00 1234                               /usr/bin/node',
      'Size:               8192 kB',
      'Rss:                4100 kB',
      'VmFlags: rd ex mr mw me sd',
      '7f00a0000000-7f00a0021000 rw-p 00000000 00:00 0 ',
      'Rss:                  12 kB',
    ];
    assert.deepEqual(parseMappings(smaps.join('\n')), [
      { start: 0x400000, end: 0xc00000, rights: 'r-xp', name: '/usr/bin/node', residentBytes: 4100 * 1024 },
      { start: 0x7f00a0000000, end: 0x7f00a0021000, rights: 'rw-p', name: '', residentBytes: 12 * 1024 },
    ]);
  });

  test('is that of the built package: the measured program imports nothing of the sources', () => {
    const code = "import { a } from '../src/host/machine/index.ts';\nimport { b } from './memory-account.ts';\n";
    assert.equal(
      withBuiltImports(code),
      "import { a } from '../host/machine/index.js';\nimport { b } from './memory-account.js';\n",
    );
  });
});
