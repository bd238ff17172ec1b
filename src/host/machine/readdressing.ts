/**
 * A twin's hardware address must be another than its original's, and the guest has to take it: the agent sets it, or the
 * guest's driver starts anew and reads it from the device. Until then the link is down, so that no frame leaves with
 * the address of another.
 *
 *   guest: sets the address -> says so ->                       sees the carrier, ends
 *   host:                               lets the link come up -> commands of users begin
 */
import { randomBytes } from 'node:crypto';
import { formatMac, type NetworkSnapshot, readMac } from '../../network/index.ts';
import type { GuestCare } from '../agent/index.ts';
import type { Nic } from '../network/guest-network.ts';

/** A guest that does not get that far may still be worth looking into. */
const PATIENCE_MS = 30_000;

/**
 * For whichever interface stands on a device; a shell that has `ip` or `ifconfig`. Says when the addresses are set, and
 * then waits until the carrier has come (for three seconds or so: there may be no path), where the interface is up: who
 * sends earlier loses what it sends. To read \`carrier\` has Linux do what the carrier's coming asks for.
 */
const script = `
for device in /sys/class/net/*/device; do
  name=\${device%/device}
  name=\${name##*/}
  ip link set dev "$name" address "$MAC" 2>/dev/null || ifconfig "$name" hw ether "$MAC" || exit 1
  [ "$(cat "/sys/class/net/$name/address")" = "$MAC" ] || exit 1
done
echo set
tries=0
for device in /sys/class/net/*/device; do
  while [ $tries -lt 60 ] && read -r carrier < "\${device%/device}/carrier" && [ "$carrier" = 0 ]; do
    tries=$((tries + 1))
    sleep 0.05
  done
done 2>/dev/null
:`;

export class Readdressing {
  /** Six bytes. */
  readonly mac: Uint8Array;
  #net: Pick<Nic, 'setLinkUp'> | undefined;
  #ended: Promise<unknown> | undefined;

  constructor(mac: Uint8Array) {
    this.mac = mac;
  }

  /** The guest is asked as soon as its agent answers. */
  begin(net: Pick<Nic, 'setLinkUp'>, care: Pick<GuestCare, 'agent'>): void {
    this.#net = net;
    const argv = ['sh', '-c', script];
    const environment = { MAC: this.text, PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };
    // The guest may end first, or have no agent: its link stays down until its driver starts anew.
    this.#ended = care
      .agent()
      .then((agent) => agent.execute(argv, { environment, onStdout: () => this.done() }))
      .catch(() => undefined);
  }

  /** Resolves when the guest has its address and sees its link, or will not: what it sends now is not lost. */
  async settled(signal?: AbortSignal): Promise<void> {
    if (this.#ended === undefined) return;
    const over = Promise.withResolvers<void>();
    const timer = setTimeout(over.resolve, PATIENCE_MS).unref();
    const abort = (): void => over.reject(signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      signal?.throwIfAborted();
      await Promise.race([this.#ended, over.promise]);
      this.#ended = undefined;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    }
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
