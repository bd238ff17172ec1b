/**
 * What path failures cost: `node bench/network-paths.ts [--guest bare|debian] [--failures N] [--short] [--mtu BYTES] [--outcome] [--json FILE]`, as root.
 * Makes a segment in network namespaces (a guest between two macvtap uplinks, a learning bridge, a peer), has guest and
 * peer send each other 100 numbered datagrams a second, and fails the path in force N times, half of them by its
 * carrier, half of them silently, in turn from the first to the second path and back. Only the monitor sees that. It
 * prints how long each switch took, and what was lost either way.
 *
 * The guest is a generator of frames (bare), as large as the MTU lets them be if that is not 1500, behind the same switch, uplinks and table as any guest's; or Debian, which has a TCP
 * connection with the peer besides, on which both count up.
 *
 * Exit code 1 if in 99 of 100 failures a lost carrier was not switched within 50 ms with at most 1 datagram lost each way,
 * a silent loss within 120 ms with at most 12; if a datagram came twice, the guest's carrier changed, or its connection broke
 * or lost a number; if its carrier did not go and come back with its last path; or if the session lives with failover off. With --outcome times and losses are printed and do not count.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { assert, must } from '../src/base/assert.ts';
import { cameWithin, doubled, type Ledger, lostWithin, nowMs, onHostClock } from './network/ledger.ts';
import { bareSubject, debianSubject, GUEST_ADDRESS, prepareDebian, sessionProgram } from './network/path-subjects.ts';
import { inNamespace, PEER_ADDRESS, SegmentLab } from './network/segment-lab.ts';

const { values } = parseArgs({
  options: {
    guest: { type: 'string', default: 'bare' },
    failures: { type: 'string', default: '100' },
    short: { type: 'boolean', default: false },
    inside: { type: 'boolean', default: false },
    mtu: { type: 'string', default: '1500' },
    outcome: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
});
const BOUNDS = { carrier: { ms: 50, lost: 1 }, silent: { ms: 120, lost: 12 } } as const;
type How = keyof typeof BOUNDS;
/** What a failure may cost lies within so long. */
const WINDOW_MS = 600;
const SETTLE_MS = 300;
const say = (line: string): void => void process.stdout.write(`${line}\n`);
let isBeyond = false;

assert(values.guest === 'bare' || values.guest === 'debian', 'there is no such guest: bare or debian');
if (!values.inside) {
  if (values.guest === 'debian') await prepareDebian();
  process.exit(await inNamespace([import.meta.filename, '--inside', ...process.argv.slice(2)]));
}

interface Failure {
  readonly how: How;
  readonly from: string;
  readonly atMs: number;
  /** Undefined: it was not switched at all. */
  readonly switchedMs: number | undefined;
}

const failures = values.short ? 8 : Number(values.failures);
const lab = new SegmentLab({ mtuBytes: Number(values.mtu) });
process.once('exit', () => lab.close());
const netdevs = lab.devices.map(
  (ifname) => ({ kind: 'macvtap', ifname, network: 'lan', targets: [PEER_ADDRESS] }) as const,
);
// It is there before the guest, which is to connect to it.
const peer = lab.peer(new URL('network/paced-peer.ts', import.meta.url).pathname, [GUEST_ADDRESS]);
const answers = createInterface({ input: must(peer.stdout) })[Symbol.asyncIterator]();
const guest =
  values.guest === 'bare'
    ? await bareSubject(netdevs, { peer: PEER_ADDRESS, mtuBytes: Number(values.mtu) })
    : await debianSubject(netdevs, PEER_ADDRESS, readFileSync(sessionProgram()));
await until(bothUsable, 20_000);
await sleep(1000);

const carriersBefore = await guest.carrierChanges();
const done: Failure[] = [];
for (let i = 0; i < failures; i += 1) done.push(await failOnce(i % 4 < 2 ? 'carrier' : 'silent'));
const carriersAfter = await guest.carrierChanges();
const off = await failoverOff();
await sleep(2 * WINDOW_MS);
const carriersLost = (await guest.carrierChanges()) - carriersAfter;
const stats = await guest.stats();
// The guest's end of the connection closes with what counts there: what its peer saw before is what counts.
const { tcp } = await peerLedger();
const near = await guest.ledger();
const far = await peerLedger();
must(peer.stdin).end();
report(values.guest === 'bare' ? near : onHostClock(near, far), { ...far, ...(tcp === undefined ? {} : { tcp }) });
await guest.close();
lab.close();
process.exit(isBeyond ? 1 : 0);

async function peerLedger(): Promise<Ledger> {
  must(peer.stdin).write('report\n');
  return JSON.parse(String((await answers.next()).value)) as Ledger;
}

async function failOnce(how: How): Promise<Failure> {
  // The other one has to be usable, or it would not be a failure of one path.
  await until(bothUsable, 10_000);
  const from = must(await inForce());
  await sleep(SETTLE_MS + Math.random() * 20);
  const atMs = nowMs();
  lab.fail(from, how, true);
  const isSwitched = await until(async () => ![from, undefined].includes(await inForce()), 3000);
  const switchedMs = isSwitched ? nowMs() - atMs : undefined;
  await sleep(WINDOW_MS);
  lab.fail(from, how, false);
  return { how, from, atMs, switchedMs };
}

/** The session, while the path in force is silent and nothing may change. */
async function failoverOff(): Promise<{ fromMs: number; toMs: number }> {
  await until(bothUsable, 10_000);
  await guest.setFailover(false);
  const from = must(await inForce());
  lab.fail(from, 'silent', true);
  await sleep(100);
  const fromMs = nowMs();
  await sleep(1500);
  const toMs = nowMs();
  lab.fail(from, 'silent', false);
  await guest.setFailover(true);
  return { fromMs, toMs };
}

function report(near: Ledger, farLedger: Ledger): void {
  const costs = done.map((one) => {
    const toMs = one.atMs + WINDOW_MS;
    const lost = [lostWithin(near, farLedger, one.atMs - 20, toMs), lostWithin(farLedger, near, one.atMs - 20, toMs)];
    return { ...one, lostOut: lost[0] ?? 0, lostIn: lost[1] ?? 0 };
  });
  say(`${'failure'.padEnd(26)}      least   median      p99     most`);
  for (const how of ['carrier', 'silent'] as const) {
    const those = costs.filter((one) => one.how === how);
    if (those.length === 0) continue;
    const bound = BOUNDS[how];
    const ms = distribution(
      `${how}: switched after, ms`,
      those.map(({ switchedMs }) => switchedMs ?? Number.POSITIVE_INFINITY),
    );
    const out = distribution(
      `${how}: lost to the peer`,
      those.map(({ lostOut }) => lostOut),
    );
    const into = distribution(
      `${how}: lost to the guest`,
      those.map(({ lostIn }) => lostIn),
    );
    check(Number.isFinite(ms), `${how} loss was switched each time`);
    bounded(ms <= bound.ms, `${how} loss switched within ${bound.ms} ms`);
    bounded(Math.max(out, into) <= bound.lost, `at most ${bound.lost} lost each way at 100 a second`);
  }
  const { fromMs, toMs } = off;
  const came = [cameWithin(farLedger, fromMs, toMs), cameWithin(near, fromMs, toMs)];
  const seconds = (toMs - fromMs) / 1000;
  say(`with failover off: ${came.join(' and ')} datagrams came in ${seconds.toFixed(1)} s`);
  check(Math.max(...came) <= 10 * seconds, 'with failover off the session is dead');
  const twice = doubled(near) + doubled(farLedger);
  say(`datagrams: ${near.sent.length} sent by the guest, ${farLedger.sent.length} by the peer, ${twice} came twice`);
  check(twice === 0, 'no datagram came twice');
  check(carriersAfter === carriersBefore, "the guest's carrier did not change");
  check(carriersLost === 2, 'without a path it lost its carrier, and had it back with one');
  reportTcp(near, farLedger);
  if (values.json !== undefined)
    writeFileSync(values.json, JSON.stringify({ costs, off, stats, near, far: farLedger }));
}

/** The connection lived through all of it, failover off included: TCP is patient. */
function reportTcp(near: Ledger, farLedger: Ledger): void {
  const [own, other] = [near.tcp, farLedger.tcp];
  if (own === undefined || other === undefined) return;
  say(`TCP: ${own.sent} sent by the guest, ${other.got} came; ${other.sent} sent by the peer, ${own.got} came`);
  const isWhole = !own.isBroken && !other.isBroken && !own.isOutOfOrder && !other.isOutOfOrder;
  check(
    isWhole && other.got >= own.sent - 200 && own.got >= other.sent - 200,
    'the connection lives, and lost nothing',
  );
}

/** Prints it; the 99th percentile. */
function distribution(name: string, figures: readonly number[]): number {
  const sorted = [...figures].sort((a, b) => a - b);
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * part) - 1)] ?? 0;
  const columns = [sorted[0] ?? 0, at(0.5), at(0.99), at(1)].map((one) => one.toFixed(1).padStart(8));
  say(`${name.padEnd(28)} ${columns.join(' ')}   of ${sorted.length}`);
  return at(0.99);
}

/** What depends on how busy the host is. */
function bounded(isWithin: boolean, what: string): void {
  if (values.outcome) say(`${isWithin ? 'within' : 'beyond'} the bound: ${what}`);
  else check(isWithin, what);
}

function check(isWithin: boolean, what: string): void {
  say(`${isWithin ? 'within' : 'BEYOND'} the bound: ${what}`);
  isBeyond ||= !isWithin;
}

async function inForce(): Promise<string | undefined> {
  return (await guest.net()).interfaces[0]?.inForce;
}

async function bothUsable(): Promise<boolean> {
  const { uplinks } = await guest.net();
  return uplinks.every(({ condition }) => condition === 'up' || condition === 'recovering');
}

async function until(condition: () => Promise<boolean>, withinMs: number): Promise<boolean> {
  const endMs = nowMs() + withinMs;
  while (!(await condition())) {
    if (nowMs() > endMs) return false;
    await sleep(1);
  }
  return true;
}
