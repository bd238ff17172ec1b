/**
 * What path failures cost: `node bench/network-paths.ts [--failures N] [--short] [--json FILE]`, as root. Makes a segment in
 * network namespaces (a guest between two macvtap uplinks, a learning bridge, a peer), has guest and peer send each
 * other 100 numbered datagrams a second, and fails the path in force N times, half of them by its carrier, half of them
 * silently, in turn from the first to the second path and back. Only the monitor sees that. It prints how long each
 * switch took, and what was lost either way.
 *
 * Exit code 1 if in 99 of 100 failures a lost carrier was not switched within 50 ms with at most 1 datagram lost each way,
 * a silent loss within 120 ms with at most 12; if a datagram came twice; or if the session lives with failover off.
 * The guest is a generator of frames behind the same switch, uplinks and table as any guest's.
 */
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { must } from '../src/base/assert.ts';
import { MachineNetworks } from '../src/host/network/machine-networks.ts';
import { parseIpv4, parseMac } from '../src/network/addresses.ts';
import { FrameGenerator } from './network/frame-generator.ts';
import { doubled, type Ledger, lostWithin, nowMs } from './network/ledger.ts';
import { inNamespace, PEER_ADDRESS, SegmentLab } from './network/segment-lab.ts';

const { values } = parseArgs({
  options: {
    failures: { type: 'string', default: '100' },
    short: { type: 'boolean', default: false },
    inside: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
});
const GUEST = { address: '10.9.0.1', mac: '52:54:00:99:00:01' };
const INTERFACE = 'bare/net0';
const BOUNDS = { carrier: { ms: 50, lost: 1 }, silent: { ms: 120, lost: 12 } } as const;
type How = keyof typeof BOUNDS;
/** What a failure may cost lies within so long. */
const WINDOW_MS = 600;
const SETTLE_MS = 300;
const say = (line: string): void => void process.stdout.write(`${line}\n`);
let isBeyond = false;

if (!values.inside) process.exit(await inNamespace([import.meta.filename, '--inside', ...process.argv.slice(2)]));

interface Failure {
  readonly how: How;
  readonly from: string;
  readonly atMs: number;
  /** Undefined: it was not switched at all. */
  readonly switchedMs: number | undefined;
}

const failures = values.short ? 8 : Number(values.failures);
const lab = new SegmentLab();
process.once('exit', () => lab.close());
const networks = new MachineNetworks();
const { paths } = networks;
const guest = await networks.attach({
  ...{ owner: 'bare', mac: GUEST.mac, failback: 'failure' },
  netdevs: lab.devices.map((ifname) => ({ kind: 'macvtap', ifname, network: 'lan', targets: [PEER_ADDRESS] })),
});
const own = { mac: must(parseMac(GUEST.mac)), address: must(parseIpv4(GUEST.address)) };
const generator = new FrameGenerator(own, { peer: must(parseIpv4(PEER_ADDRESS)) }, (frame) => guest.receive(frame));
guest.connect(generator);
const peer = lab.peer(new URL('network/paced-peer.ts', import.meta.url).pathname, [GUEST.address]);
const answers = createInterface({ input: must(peer.stdout) })[Symbol.asyncIterator]();
generator.start();
await until(() => generator.ledger.got.length > 50 && usable(lab.devices[0]) && usable(lab.devices[1]), 20_000);

const done: Failure[] = [];
for (let i = 0; i < failures; i += 1) done.push(await failOnce(i % 4 < 2 ? 'carrier' : 'silent'));
const carriers = generator.links.join();
const off = await failoverOff();
await sleep(WINDOW_MS);
generator.stop();
must(peer.stdin).write('report\n');
const far = JSON.parse(String((await answers.next()).value)) as Ledger;
must(peer.stdin).end();
report(far);
guest.close();
networks.close();
lab.close();
process.exit(isBeyond ? 1 : 0);

async function failOnce(how: How): Promise<Failure> {
  const from = must(inForce());
  // The other one has to be usable, or it would not be a failure of one path.
  await until(() => lab.devices.every(usable), 10_000);
  await sleep(SETTLE_MS + Math.random() * 20);
  const atMs = nowMs();
  lab.fail(from, how, true);
  const isSwitched = await until(() => inForce() !== from && inForce() !== undefined, 3000);
  const switchedMs = isSwitched ? nowMs() - atMs : undefined;
  await sleep(WINDOW_MS);
  lab.fail(from, how, false);
  return { how, from, atMs, switchedMs };
}

/** The session, while the path in force is silent and nothing may change. */
async function failoverOff(): Promise<{ fromMs: number; toMs: number }> {
  await until(() => lab.devices.every(usable), 10_000);
  paths.setFailover(false);
  const from = must(inForce());
  lab.fail(from, 'silent', true);
  await sleep(100);
  const fromMs = nowMs();
  await sleep(1500);
  const toMs = nowMs();
  lab.fail(from, 'silent', false);
  return { fromMs, toMs };
}

function report(farLedger: Ledger): void {
  const near = generator.ledger;
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
    check(ms <= bound.ms, `${how} loss switched within ${bound.ms} ms`);
    check(Math.max(out, into) <= bound.lost, `at most ${bound.lost} lost each way at 100 a second`);
  }
  const { fromMs, toMs } = off;
  const died = [lostWithin(near, farLedger, fromMs, toMs), lostWithin(farLedger, near, fromMs, toMs)];
  const sent = near.sent.filter(([, atMs]) => atMs >= fromMs && atMs < toMs).length;
  say(`with failover off: ${died.join(' and ')} lost of ${sent} sent`);
  check(Math.min(...died) >= sent * 0.9, 'with failover off the session dies');
  const twice = doubled(near) + doubled(farLedger);
  say(`datagrams: ${near.sent.length} sent by the guest, ${farLedger.sent.length} by the peer, ${twice} came twice`);
  check(twice === 0, 'no datagram came twice');
  check(carriers === 'true', 'the guest saw its carrier all the time');
  if (values.json !== undefined) writeFileSync(values.json, JSON.stringify({ costs, stats: paths.stats() }));
}

/** Prints it; the 99th percentile. */
function distribution(name: string, figures: readonly number[]): number {
  const sorted = [...figures].sort((a, b) => a - b);
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * part) - 1)] ?? 0;
  const columns = [sorted[0] ?? 0, at(0.5), at(0.99), at(1)].map((one) => one.toFixed(1).padStart(8));
  say(`${name.padEnd(28)} ${columns.join(' ')}   of ${sorted.length}`);
  return at(0.99);
}

function check(isWithin: boolean, what: string): void {
  say(`${isWithin ? 'within' : 'BEYOND'} the bound: ${what}`);
  isBeyond ||= !isWithin;
}

function inForce(): string | undefined {
  return paths.report().interfaces.find(({ name }) => name === INTERFACE)?.inForce;
}

function usable(device: string | undefined): boolean {
  const condition = paths.report().uplinks.find(({ name }) => name === device)?.condition;
  return condition === 'up' || condition === 'recovering';
}

async function until(condition: () => boolean, withinMs: number): Promise<boolean> {
  const endMs = nowMs() + withinMs;
  while (!condition()) {
    if (nowMs() > endMs) return false;
    await sleep(1);
  }
  return true;
}
