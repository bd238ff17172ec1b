/** What each method would give a guest and cost, and which is in force: of the guest that is chosen, or the first. */
import { h, replace } from '../../dom.ts';
import type { Place } from '../../page.ts';
import { methodsPicture } from '../../pictures/methods.ts';
import { drillControl } from './drill.ts';
import { type ClusterShow, guestLinks } from './section.ts';

export function methodsSection(place: Place, chosen: string | undefined): ClusterShow {
  const [guests, inner, drill] = [h('div', {}), h('div', {}), h('div', {})];
  place.main.append(guests, inner, drill);
  let drilled = '';
  return ({ report }) => {
    const guest = report.guests.find(({ name }) => name === chosen) ?? report.guests[0];
    // A drill takes a while: what it said stays until another guest is looked at.
    if (guest !== undefined && guest.name !== drilled) drill.replaceChildren(drillControl(place, guest.name));
    drilled = guest?.name ?? '';
    replace(guests, guestLinks(report.guests, 'methods', guest?.name));
    if (guest === undefined) replace(inner, h('p', { class: 'quiet' }, 'The cluster keeps no guest up yet.'));
    else replace(inner, h('h2', {}, guest.name), ...methodsPicture(guest));
  };
}
