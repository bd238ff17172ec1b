/**
 * What the cluster's mechanisms are worth, in the simulator (virtual time: the figures are the same on every machine):
 *
 *   node bench/cluster.ts [--only traffic|failover|methods]
 *
 * traffic: heartbeats between three hosts by the number of guests, constant and direct. failover: a host dies with a
 * thousand guests, which nineteen take over. methods: all hot, all cold, and selected. Exits 1 when a bound is broken.
 */
import { parseArgs } from 'node:util';
import {
  compareMethods,
  heartbeatTraffic,
  massFailover,
  standbySilence,
} from '../src/cluster/simulator/measurements.ts';

const { values } = parseArgs({ options: { only: { type: 'string' } } });
const isWanted = (part: string): boolean => values.only === undefined || values.only === part;
const problems: string[] = [];

if (isWanted('traffic')) {
  const constant = [1, 10, 100, 1000].map((guests) => heartbeatTraffic(guests, 'constant'));
  const direct = [1, 10, 100, 1000].map((guests) => heartbeatTraffic(guests, 'direct'));
  say(
    '| guests | constant: packets/s | bytes/s | direct: packets/s | bytes/s | beats within hosts/s | messages to standbys: constant | direct |',
  );
  say('|---|---|---|---|---|---|---|---|');
  constant.forEach((one, i) => {
    const other = direct[i];
    say(
      `| ${one.guests} | ${round(one.packetsPerS)} | ${round(one.bytesPerS)} | ${round(other?.packetsPerS ?? 0)} | ` +
        `${round(other?.bytesPerS ?? 0)} | ${round(one.localBeatsPerS)} | ${one.toStandbys} | ${other?.toStandbys} |`,
    );
    if (one.packetsPerS !== constant[0]?.packetsPerS || one.bytesPerS !== constant[0]?.bytesPerS)
      problems.push('traffic grows');
    if (one.toStandbys > 0) problems.push('a standby was sent something');
  });
  const { before, orders, takeovers } = standbySilence(30);
  say(
    `\nto standbys' slaves: ${before} before their active's host died, ${orders} orders after it, ${takeovers} takeovers`,
  );
  if (before !== 0 || orders !== takeovers) problems.push('not exactly the order to take over');
}

if (isWanted('failover')) {
  const { failed, rows, violation, conflicts } = massFailover();
  say(`\n${failed} guests fail over at once; refused claims: ${conflicts}; violated: ${violation ?? 'nothing'}\n`);
  say('| priority | guests | recoveryTime, s | median, s | 99th percentile, s | last, s | late |');
  say('|---|---|---|---|---|---|---|');
  for (const row of rows)
    say(
      `| ${row.priority} | ${row.guests} | ${row.recoveryTimeMs / 1000} | ${seconds(row.medianMs)} | ${seconds(row.p99Ms)} | ` +
        `${seconds(row.worstMs)} | ${row.late} |`,
    );
  if (violation !== undefined || (rows[0]?.late ?? 1) > 0) problems.push('limits, or the highest priority late');
}

if (isWanted('methods')) {
  say(
    '\n| choice | standby memory, GiB | cores | disk, GiB | MB/s | needs missed | a host killed: its guests | late |',
  );
  say('|---|---|---|---|---|---|---|---|');
  for (const choice of ['hot', 'cold', 'selected'] as const) {
    const row = compareMethods(choice);
    say(
      `| ${choice} | ${round(row.memoryGib)} | ${round(row.cores)} | ${round(row.diskGib)} | ${round(row.mbPerS)} | ` +
        `${row.missed} of ${row.guests} | ${row.failed} | ${row.late} |`,
    );
  }
}
for (const problem of problems) say(`FAIL ${problem}`);
process.exitCode = problems.length === 0 ? 0 : 1;

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}
