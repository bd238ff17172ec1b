/** What follows from the placements for each host: which standbys it keeps, and where its own guests' checkpoints go. */
import { isIn } from '../membership/membership.ts';
import type { Association, Duty } from '../model.ts';
import { DUTIES, keyOf, put } from '../store/records.ts';
import type { Write } from './leader.ts';
import type { View } from './view.ts';

export function planDuties(view: View, most: number): Write[] {
  const wanted = new Map<string, Duty[]>();
  for (const [host, { value }] of view.hosts) if (isIn(value, value?.incarnation ?? 0)) wanted.set(host, []);
  for (const [guest, { value: placement }] of view.placements) {
    const owner = view.owners.get(guest)?.value;
    const spec = view.specs.get(guest)?.value;
    if (placement === undefined || owner === undefined || spec?.wanted !== 'running') continue;
    // A new owner has a standby of its own choosing soon; until then, what is there is kept.
    const standbys = [placement.associations[0], placement.next];
    for (const one of standbys) if (one !== undefined) addDuties(wanted, guest, owner.host, one, placement.everyMs);
  }
  const writes: Write[] = [];
  for (const [host, duties] of wanted) {
    const found = view.duties.get(host);
    const value = put(DUTIES, host, { duties }).value;
    if (writes.length < most && value !== JSON.stringify({ duties: found?.value?.duties ?? [] }))
      writes.push({ compare: { key: keyOf(DUTIES, host), revision: found?.revision ?? 0 }, value });
  }
  return writes;
}

function addDuties(
  wanted: ReadonlyMap<string, Duty[]>,
  guest: string,
  home: string,
  { host, method }: Association,
  everyMs: number,
): void {
  if (method === 'cold' || host === home) return;
  wanted.get(home)?.push({ guest, role: 'active', method, peer: host, everyMs });
  wanted.get(host)?.push({ guest, role: 'standby', method, peer: home, everyMs });
}
