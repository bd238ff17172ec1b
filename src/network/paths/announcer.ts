/** Tells the segment where a guest's addresses are now, several times: frames may be lost, ports may not forward yet. */
import type { Timers } from '../ports.ts';
import { ANNOUNCED_AFTER_MS, announcement, reverseArp } from './announcements.ts';
import type { Uplink } from './uplink.ts';
import type { VirtualInterface } from './virtual-interface.ts';
import type { VirtualSwitch } from './virtual-switch.ts';

/** Frames with which one change is told, each time. */
const MOST_ANNOUNCED = 128;

/** By the uplink that is in force from now on; what is still to come ends with `one.stopAnnouncing()`. */
export function announce(one: VirtualInterface, uplink: Uplink, on: VirtualSwitch, timers: Timers): void {
  const { counters } = one.row;
  const tell = (): void => {
    for (const frame of framesFor(one, on)) {
      counters.announcements += 1;
      on.tap?.(uplink.name, 'out', frame);
      uplink.transmit(frame);
    }
  };
  tell();
  one.announcing = ANNOUNCED_AFTER_MS.filter((ms) => ms > 0).map((ms) => timers.after(ms, tell));
}

/** Of each address that is known; of hardware addresses without one, by themselves. */
function framesFor(one: VirtualInterface, on: VirtualSwitch): Uint8Array[] {
  const said = one.addresses.list();
  const named = new Set(said.map(({ mac, vlan }) => `${mac} ${vlan}`));
  const mute = [...on.addressesOf(one)].filter(({ mac, vlan }) => !named.has(`${mac} ${vlan}`));
  const frames = [...said.map(announcement), ...mute.map(({ mac, vlan }) => reverseArp(mac, vlan))];
  return frames.slice(0, MOST_ANNOUNCED);
}
