import assert from 'node:assert/strict';
import { test } from 'node:test';
import { restore, save } from '../../base/struct.ts';
import { Bench, type BenchOptions } from './bench.testing.ts';
import { FakeDriver, type FakeQueue } from './fake-driver.testing.ts';
import { type NetIo, VirtioNet } from './net.ts';
import { partialFrame } from './net-frames.testing.ts';
import type { GuestOffload } from './net-port.ts';
import { VIRTIO_NET_F } from './net-state.ts';

const MAC = [0x52, 0x54, 0, 1, 2, 3];
const OTHER = [0x52, 0x54, 0, 9, 9, 9];
const MULTICAST = [0x33, 0x33, 0, 0, 0, 1];
const BROADCAST = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
const RX = 0;
const TABLE = [1, 0] as const;
const ADDRESS = [1, 1] as const;
const VLAN = 2;
const ANNOUNCE = [3, 0] as const;
const PAIRS = [4, 0] as const;
const OFFLOADS = [5, 0] as const;
const OK = 0;
const ERROR = 1;

interface SetUpOptions extends BenchOptions {
  readonly without?: readonly number[];
  readonly pairs?: number;
}

function setUp({ without = [], pairs = 1, ...options }: SetUpOptions = {}) {
  const bench = new Bench(VirtioNet.layout, { frames: 1024, ...options });
  const offloads: GuestOffload[] = [];
  const sent: Uint8Array[] = [];
  const io: NetIo = {
    ...bench.io,
    ...{ mac: Uint8Array.from(MAC), offloads: true, pairs },
    port: { send: (frame) => void sent.push(frame.slice()) },
    events: { offload: (offload) => void offloads.push(offload) },
  };
  const device = bench.start(new VirtioNet(bench.wiring, io));
  const driver = new FakeDriver(bench);
  const queues = driver.start([...without]);
  bench.serve(device);
  const isMulti = device.accepted(VIRTIO_NET_F.MQ);
  const control = queues[isMulti ? 2 * pairs : 2] as FakeQueue;
  /** Sends a command; its answer. */
  const command = (head: readonly [number, number], ...data: number[]): number => {
    const answer = driver.buffer(Uint8Array.of(0xee));
    control.add([driver.buffer(Uint8Array.of(...head)), driver.buffer(Uint8Array.from(data))], [answer]);
    control.kick();
    bench.serve(device);
    assert.deepEqual(
      control.take().map((used) => used.writtenBytes),
      [1],
    );
    return bench.memory.bytes(answer.gpa, 1)[0] ?? 0;
  };
  /** Whether a frame to that address, or with those tags, is delivered. */
  const gets = (destination: readonly number[], vlans: readonly number[] = []): boolean => {
    const { receivedFrames } = device.counters;
    queues[0]?.add([], [driver.room(2048)]);
    queues[0]?.kick();
    device.receive(partialFrame({ destination, vlans }).frame);
    bench.serve(device);
    queues[0]?.take();
    return device.counters.receivedFrames > receivedFrames;
  };
  return { bench, device, driver, queues, control, command, gets, offloads, sent, io };
}

const count = (n: number): number[] => [n, 0, 0, 0];

test('a driver that sets nothing gets everything', () => {
  const { gets } = setUp({ without: [VIRTIO_NET_F.CTRL_VLAN] });
  for (const address of [MAC, OTHER, MULTICAST, BROADCAST]) assert.ok(gets(address));
  assert.ok(gets(MAC, [7]));
});

test('not promiscuous: its own address and broadcasts, then what tables and kinds add or take away', () => {
  const { command, gets, device } = setUp();
  const all = () => [MAC, OTHER, MULTICAST, BROADCAST].map((address) => gets(address));
  assert.equal(command([RX, 0], 0), OK);
  assert.deepEqual(all(), [true, false, false, true]);
  assert.equal(device.counters.receivedFiltered, 2);
  assert.equal(command(TABLE, ...count(1), ...OTHER, ...count(1), ...MULTICAST), OK);
  assert.deepEqual(all(), [true, true, true, true]);
  assert.equal(command(TABLE, ...count(0), ...count(0)), OK);
  assert.equal(command([RX, 1], 1), OK, 'all multicast');
  assert.deepEqual(all(), [true, false, true, true]);
  assert.equal(command([RX, 2], 1), OK, 'all unicast');
  assert.deepEqual(all(), [true, true, true, true]);
  for (const [kind, wanted] of [
    [3, [true, true, false, true]],
    [4, [false, false, false, true]],
    [5, [false, false, false, false]],
  ] as const) {
    assert.equal(command([RX, kind], 1), OK);
    assert.deepEqual(all(), wanted);
  }
  assert.equal(command([RX, 0], 1), OK, 'promiscuous');
  assert.deepEqual(all(), [true, true, true, true]);
});

test('more addresses than the filter has room for: all of that kind', () => {
  const { command, gets } = setUp();
  command([RX, 0], 0);
  const many = Array.from({ length: 65 }, (_, i) => [2, 0, 0, 0, 0, i]).flat();
  assert.equal(command(TABLE, ...count(65), ...many, ...count(0)), OK);
  assert.deepEqual([gets(OTHER), gets(MULTICAST)], [true, false]);
  assert.equal(command(TABLE, ...count(64), ...many.slice(6), ...count(0)), OK);
  assert.deepEqual([gets(OTHER), gets([2, 0, 0, 0, 0, 64]), gets([2, 0, 0, 0, 0, 0])], [false, true, false]);
});

test('VLANs: tagged frames come of those that were added', () => {
  const { command, gets } = setUp();
  assert.deepEqual([gets(MAC), gets(MAC, [7])], [true, false]);
  assert.equal(command([VLAN, 0], 7, 0), OK);
  assert.deepEqual([gets(MAC, [7]), gets(MAC, [8])], [true, false]);
  assert.equal(command([VLAN, 1], 7, 0), OK);
  assert.equal(gets(MAC, [7]), false);
  assert.equal(command([VLAN, 0], 0, 0x10), ERROR, 'there are 4096');
});

test('the driver sets its address; a reset brings the first one back', () => {
  const { bench, command, gets, device, driver } = setUp();
  command([RX, 0], 0);
  assert.equal(command(ADDRESS, ...OTHER), OK);
  assert.deepEqual(
    Array.from({ length: 6 }, (_, i) => driver.config(i, 1)),
    OTHER,
  );
  assert.deepEqual([gets(MAC), gets(OTHER)], [false, true]);
  driver.registers.setStatus(0);
  bench.serve(device);
  assert.deepEqual(
    Array.from({ length: 6 }, (_, i) => driver.config(i, 1)),
    MAC,
  );
});

test('offloads are left on as the driver says, among those that it has accepted', () => {
  const { command, offloads } = setUp({ without: [VIRTIO_NET_F.GUEST_TSO6] });
  const csum = 1 << VIRTIO_NET_F.GUEST_CSUM;
  assert.equal(command(OFFLOADS, csum, 0, 0, 0, 0, 0, 0, 0), OK);
  assert.deepEqual(offloads.at(-1), { checksum: true, largePacketBytes: 0, largePacketBytes6: 0 });
  const before = offloads.length;
  assert.equal(command(OFFLOADS, 0, 1 << (VIRTIO_NET_F.GUEST_TSO6 - 8), 0, 0, 0, 0, 0, 0), ERROR);
  assert.equal(command(OFFLOADS, 0, 0, 0, 0, 0, 0, 0, 1), ERROR);
  assert.equal(offloads.length, before);
});

test('an announcement is asked for by a bit of the status, and acknowledged', () => {
  const { bench, device, driver, command } = setUp();
  driver.takeInterrupt();
  device.announce();
  bench.serve(device);
  assert.equal(driver.takeInterrupt(), 2);
  assert.equal(driver.config(6, 2), 3);
  assert.equal(command(ANNOUNCE), OK);
  assert.equal(driver.config(6, 2), 1);
});

test('while the link is down nothing is announced; a restored guest announces itself', () => {
  const { bench, device, driver, command, io } = setUp();
  device.setLinkUp(false);
  device.announce();
  bench.serve(device);
  assert.equal(driver.config(6, 2), 0);
  device.setLinkUp(true);
  bench.serve(device);
  assert.equal(driver.config(6, 2), 3);
  command(ANNOUNCE);
  const saved = JSON.parse(JSON.stringify(save(device.layout, device.state)));
  const other = bench.plug(new VirtioNet(bench.wiring, io));
  restore(other.layout, other.state, saved);
  other.resume();
  bench.serve(other);
  assert.equal(driver.config(6, 2), 3);
});

test('commands that make no sense are answered with an error and change nothing', () => {
  const { device, command, control, driver, bench } = setUp();
  const wrong: [readonly [number, number], number[]][] = [
    [[9, 0], []],
    [[RX, 6], [1]],
    [[RX, 0], []],
    [
      [RX, 0],
      [1, 1],
    ],
    [TABLE, []],
    [TABLE, [...count(2), ...OTHER, ...count(0)]],
    [TABLE, [...count(0), ...count(0), 1]],
    [TABLE, [0xff, 0xff, 0xff, 0xff, ...count(0)]],
    [ADDRESS, OTHER.slice(1)],
    [[1, 2], OTHER],
    [
      [VLAN, 2],
      [1, 0],
    ],
    [[3, 1], []],
    [PAIRS, [1, 0]],
    [OFFLOADS, [0]],
  ];
  for (const [head, data] of wrong) assert.equal(command(head, ...data), ERROR, `${head} ${data}`);
  assert.equal(device.state.receives, 1);
  assert.equal(device.counters.commandErrors, wrong.length);
  control.add([driver.buffer(Uint8Array.of(RX))], [driver.room(1)]);
  control.kick();
  bench.serve(device);
  assert.deepEqual(device.violations, {});
  control.add([driver.buffer(Uint8Array.of(RX, 0, 1))]);
  control.kick();
  bench.serve(device);
  assert.deepEqual(device.violations, { 'chain-format': 1 });
});

test('commands of features that the driver has not accepted are errors', () => {
  const { CTRL_RX, CTRL_RX_EXTRA, CTRL_VLAN, CTRL_MAC_ADDR, GUEST_ANNOUNCE, CTRL_GUEST_OFFLOADS } = VIRTIO_NET_F;
  const { command } = setUp({
    without: [CTRL_RX, CTRL_RX_EXTRA, CTRL_VLAN, CTRL_MAC_ADDR, GUEST_ANNOUNCE, CTRL_GUEST_OFFLOADS],
  });
  for (const [head, data] of [
    [[RX, 0], [1]],
    [[RX, 3], [1]],
    [TABLE, [...count(0), ...count(0)]],
    [ADDRESS, OTHER],
    [
      [VLAN, 0],
      [1, 0],
    ],
    [ANNOUNCE, []],
    [OFFLOADS, [0, 0, 0, 0, 0, 0, 0, 0]],
  ] as const)
    assert.equal(command(head, ...data), ERROR, `${head}`);
});

test('without MQ the control queue is the third, whatever pairs there are', () => {
  const { command, device } = setUp({ pairs: 4, without: [VIRTIO_NET_F.MQ] });
  assert.equal(command([RX, 1], 1), OK);
  assert.equal(device.state.pairs, 1);
});

/** Frames of `flows` flows, from the network; how many came by each pair. */
function byPair(bench: Bench, device: VirtioNet, driver: FakeDriver, queues: readonly FakeQueue[], flows: number) {
  const pairs: number[][] = [];
  for (let flow = 0; flow < flows; flow++) {
    for (const [i, queue] of queues.entries()) if (i % 2 === 0 && i < 8) queue.add([], [driver.room(2048)]);
    device.receive(partialFrame({ from: [1, 1000 + flow] }).frame);
    bench.serve(device);
    pairs.push(queues.flatMap((queue, i) => (i < 8 && i % 2 === 0 && queue.take().length > 0 ? [i / 2] : [])));
  }
  return pairs.map((hit) => {
    assert.equal(hit.length, 1);
    return hit[0] as number;
  });
}

test('one pair until the driver asks for more; then flows spread, and each stays where it is', () => {
  const { bench, device, driver, queues, command } = setUp({ pairs: 4, frames: 4096 });
  assert.equal(driver.config(8, 2), 4);
  assert.deepEqual(new Set(byPair(bench, device, driver, queues, 20)), new Set([0]));
  assert.equal(command(PAIRS, 5, 0), ERROR);
  assert.equal(command(PAIRS, 0, 0), ERROR);
  assert.equal(command(PAIRS, 4, 0), OK);
  const first = byPair(bench, device, driver, queues, 100);
  for (let pair = 0; pair < 4; pair++) {
    const share = first.filter((one) => one === pair).length;
    assert.ok(share > 10 && share < 45, `pair ${pair} has ${share} of 100 flows`);
  }
  assert.deepEqual(byPair(bench, device, driver, queues, 100), first);
  assert.equal(command(PAIRS, 1, 0), OK);
  assert.deepEqual(new Set(byPair(bench, device, driver, queues, 20)), new Set([0]));
});

test('a flow comes by the pair on which the driver sends of it', () => {
  const { bench, device, driver, queues, command, sent } = setUp({ pairs: 4 });
  command(PAIRS, 4, 0);
  for (let pair = 0; pair < 4; pair++) {
    const answer = partialFrame({ from: [15, 40_000], to: [1, 1000] });
    queues[2 * pair + 1]?.add([driver.buffer(new Uint8Array(12)), driver.buffer(answer.frame)]);
    queues[2 * pair + 1]?.kick();
    bench.serve(device);
    assert.deepEqual(byPair(bench, device, driver, queues, 1), [pair]);
  }
  assert.equal(sent.length, 4);
});

test('what the driver offered on a pair before it gave that up is sent', () => {
  const { bench, device, driver, queues, command, sent } = setUp({ pairs: 2 });
  command(PAIRS, 2, 0);
  queues[3]?.add([driver.buffer(new Uint8Array(12)), driver.buffer(partialFrame().frame)]);
  queues[3]?.kick();
  assert.equal(command(PAIRS, 1, 0), OK);
  bench.serve(device);
  assert.equal(sent.length, 1);
});

test('a pair without buffers holds no other one up', () => {
  const { bench, device, driver, queues, command } = setUp({ pairs: 4 });
  command(PAIRS, 4, 0);
  const flows = byPair(bench, device, driver, queues, 40);
  const dry = flows.indexOf(1);
  const wet = flows.indexOf(2);
  for (const [i, queue] of queues.entries()) if (i === 4) queue.add([], [driver.room(2048)]);
  // What byPair left in the others is used up.
  const before = device.counters.receivedFrames;
  for (let i = 0; i < 200; i++) device.receive(partialFrame({ from: [1, 1000 + dry] }).frame);
  bench.serve(device);
  const stuck = device.counters.receivedFrames;
  assert.ok(stuck - before < 200);
  device.receive(partialFrame({ from: [1, 1000 + wet] }).frame);
  bench.serve(device);
  assert.equal(device.counters.receivedFrames, stuck + 1);
});

test('over PCI each queue of each pair, and the control queue, can have its vector', () => {
  const { bench, device, driver, queues, command } = setUp({ pairs: 2, transport: 'pci', vectors: 6 });
  assert.equal(device.queueCount, 5);
  assert.equal(command(PAIRS, 2, 0), OK);
  queues[3]?.add([driver.buffer(new Uint8Array(12)), driver.buffer(partialFrame().frame)]);
  queues[3]?.kick();
  assert.ok(bench.serve(device));
  assert.equal(device.counters.sentFrames, 1);
});
