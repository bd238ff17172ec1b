/** The networks of a machine: guests for themselves, guests that share, what comes of wrong options, what is left open. */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { OperatorError } from '../../base/errors.ts';
import { formatMac, type NetdevOptions } from '../../network/index.ts';
import { ARP_REQUEST, arp, arpSender } from '../../network/paths/segment.testing.ts';
import type { GuestNetwork, Nic } from './guest-network.ts';
import { MachineNetworks } from './machine-networks.ts';

const GATEWAY = 0x0a000202;
const MAC = 0x525400123456;
let networks = new MachineNetworks();
afterEach(() => {
  networks.close();
  networks = new MachineNetworks();
});

class FakeNic implements Nic {
  readonly links: boolean[] = [];
  readonly senders: number[] = [];
  readonly frames: Uint8Array[] = [];

  receive(frame: Uint8Array): boolean {
    this.frames.push(frame.slice());
    const said = arpSender(frame);
    if (said !== undefined) this.senders.push(said.address);
    return true;
  }

  setLinkUp(up: boolean): void {
    this.links.push(up);
  }
}

async function attach(
  owner: string,
  netdevs: readonly NetdevOptions[],
  mac = MAC,
): Promise<{ guest: GuestNetwork; nic: FakeNic }> {
  const guest = await networks.attach({ owner, mac: formatMac(mac), netdevs });
  const nic = new FakeNic();
  guest.connect(nic);
  return { guest, nic };
}

function ask(guest: GuestNetwork, mac = MAC): void {
  guest.receive(arp(ARP_REQUEST, { mac, address: 0x0a00020f }, { mac: 0, address: GATEWAY }));
}

const code = async (body: Promise<unknown>): Promise<string> =>
  await body.then(
    () => 'none',
    (error: unknown) => (error instanceof OperatorError ? error.code : String(error)),
  );

describe('guests for themselves', () => {
  test('each has a user network of its own, and the same address as the other', async () => {
    const one = await attach('one', [{ kind: 'user' }]);
    const other = await attach('two', [{ kind: 'user', id: 'n0' }]);
    const third = await attach('three', [{ kind: 'user', id: 'n0' }]);
    ask(one.guest);
    assert.deepEqual([one.nic.senders, other.nic.senders, third.nic.senders], [[GATEWAY], [], []]);
    assert.deepEqual(one.nic.links, [true]);
    assert.equal(one.guest.user?.stats().arp.requestsIn, 1);
    assert.deepEqual(
      networks.paths.report().uplinks.map(({ name, network }) => [name, network]),
      [
        ['one/user0', 'one'],
        ['n0', 'two'],
        ['three/n0', 'three'],
      ],
    );
    one.guest.close();
    assert.equal(networks.paths.report().uplinks.length, 2, 'what nobody uses is closed');
  });

  test('what may not leave is lost, of guests and in their name; what comes in comes', async () => {
    let mayLeave = true;
    networks.close();
    networks = new MachineNetworks({ mayLeave: () => mayLeave });
    const { guest, nic } = await attach('one', [{ kind: 'user' }]);
    ask(guest);
    mayLeave = false;
    ask(guest);
    assert.deepEqual(nic.senders, [GATEWAY], 'the gateway has not heard the second');
    mayLeave = true;
    ask(guest);
    assert.deepEqual(nic.senders, [GATEWAY, GATEWAY]);
  });

  test('guests without a name are told apart', async () => {
    await attach('machine-1', [{ kind: 'user' }]);
    const { guest } = await attach('machine-1', [{ kind: 'user' }]);
    assert.equal(guest.interface, 'machine-1-2/net0');
    assert.equal(guest.named('net0'), 'machine-1-2/net0');
    assert.equal(guest.named('user0'), 'machine-1-2/user0');
    assert.equal(guest.named('machine-1/user0'), 'machine-1/user0');
  });

  test('a twin has a user network anew, and shares the others', async () => {
    const { guest } = await attach('one', [{ kind: 'internal', id: 'in' }, { kind: 'user' }]);
    assert.deepEqual(guest.forTwin(), [
      { kind: 'shared', id: 'in' },
      { kind: 'user', network: 'one' },
    ]);
    const twin = await attach('two', guest.forTwin(), MAC + 1);
    assert.deepEqual(
      networks.paths.report().interfaces.map((one) => one.network),
      ['one', 'one'],
    );
    guest.close();
    ask(twin.guest, MAC + 1);
    networks.paths.map('two/net0', ['two/user1']);
    ask(twin.guest, MAC + 1);
    assert.deepEqual(twin.nic.senders, [GATEWAY]);
  });
});

describe('guests that share', () => {
  test('one segment without a cable: they hear each other', async () => {
    const one = await attach('one', [{ kind: 'internal', network: 'lan' }]);
    const other = await attach('two', [{ kind: 'internal', network: 'lan' }], MAC + 1);
    ask(one.guest);
    assert.equal(other.nic.frames.length, 1);
    assert.equal(one.nic.frames.length, 0);
  });

  test('one user network: both are answered, and each by its own address', async () => {
    const one = await attach('one', [{ kind: 'user', id: 'nat', network: 'lan' }]);
    const other = await attach('two', [{ kind: 'shared', id: 'nat' }], MAC + 1);
    ask(one.guest);
    ask(other.guest, MAC + 1);
    assert.ok(one.nic.senders.includes(GATEWAY) && other.nic.senders.includes(GATEWAY));
    one.guest.close();
    ask(other.guest, MAC + 1);
    assert.equal(other.nic.senders.filter((sender) => sender === GATEWAY).length, 2);
  });

  test('a carrier that is held down shows no path', async () => {
    const { guest, nic } = await attach('one', [{ kind: 'user' }]);
    guest.carrier.setLinkUp(false);
    guest.carrier.setLinkUp(true);
    assert.deepEqual(nic.links, [true, false, true]);
  });
});

test('what is wrong is said, and nothing is left open', async () => {
  const tell = (netdevs: readonly NetdevOptions[], mac = MAC): Promise<string> => code(attach('one', netdevs, mac));
  assert.equal(await tell([{ kind: 'shared', id: 'no' }]), 'no-such-uplink');
  assert.equal(await tell([{ kind: 'user' }, { kind: 'macvtap', ifname: 'kage-none' }]), 'no-such-device');
  assert.equal(await tell([{ kind: 'macvtap', ifname: 'lo' }]), 'not-macvtap');
  assert.equal(
    await tell([
      { kind: 'internal', network: 'a' },
      { kind: 'internal', network: 'b' },
    ]),
    'mixed-networks',
  );
  assert.equal(await tell([{ kind: 'user' }], 0x010000000000), 'bad-usage');
  assert.equal(await tell([{ kind: 'user', user: 'net=nonsense' }]), 'bad-network');
  assert.equal(await tell([{ kind: 'stream' }]), 'bad-usage');
  assert.deepEqual(networks.paths.report(), { failover: true, interfaces: [], uplinks: [] });
  await attach('one', [{ kind: 'internal', id: 'x' }]);
  assert.equal(await code(attach('two', [{ kind: 'internal', id: 'x' }], MAC + 1)), 'uplink-exists');
  assert.equal(await code(attach('two', [{ kind: 'shared', id: 'x' }])), 'mac-in-use');
  assert.equal(networks.paths.report().interfaces.length, 1);
});
