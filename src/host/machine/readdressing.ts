/**
 * A twin's hardware address must be another than its original's, and the guest has to take it: the agent sets it, or the
 * guest's driver starts anew and reads it from the device. Until then the link is down, so that no frame leaves with
 * the address of another.
 */
import { randomBytes } from 'node:crypto';
import { formatMac, type NetworkSnapshot, readMac } from '../../network/index.ts';
import type { GuestCare } from '../agent/index.ts';
import type { Nic } from '../network/guest-network.ts';

/** For whichever interface stands on a device; a shell that has `ip` or `ifconfig`. */
const script = `
for device in /sys/class/net/*/device; do
  name=\${device%/device}
  name=\${name##*/}
  ip link set dev "$name" address "$MAC" 2>/dev/null || ifconfig "$name" hw ether "$MAC" || exit 1
  [ "$(cat "/sys/class/net/$name/address")" = "$MAC" ] || exit 1
done`;

export class Readdressing {
  /** Six bytes. */
  readonly mac: Uint8Array;
  #net: Pick<Nic, 'setLinkUp'> | undefined;

  constructor(mac: Uint8Array) {
    this.mac = mac;
  }

  /** The guest is asked as soon as its agent answers. */
  begin(net: Pick<Nic, 'setLinkUp'>, care: Pick<GuestCare, 'agent'>): void {
    this.#net = net;
    const environment = { MAC: this.text, PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };
    care
      .agent()
      .then((agent) => agent.execute(['sh', '-c', script], { environment }))
      .then(({ code }) => {
        if (code === 0) this.done();
      })
      // The guest ended first, or has no agent: its link stays down until its driver starts anew.
      .catch(() => undefined);
  }

  get text(): string {
    return formatMac(numberOf(this.mac));
  }

  /** The guest has the address. */
  done(): void {
    this.#net?.setLinkUp(true);
  }
}

/** A hardware address: locally administered, in QEMU's range, and nobody else's most likely. */
export function twinMac(): string {
  return formatMac(numberOf(Uint8Array.of(0x52, 0x54, 0, ...randomBytes(3))));
}

/** What the network knew of the guest, with the address that it is about to have. */
export function moved(saved: NetworkSnapshot, address: Uint8Array): NetworkSnapshot {
  const mac = numberOf(address);
  return {
    ...saved,
    neighbours: saved.neighbours.map(([ip]) => [ip, mac] as const),
    leases: saved.leases.map((lease) => ({ ...lease, mac })),
  };
}

function numberOf(mac: Uint8Array): number {
  return readMac(new DataView(mac.buffer, mac.byteOffset, mac.length), 0);
}
