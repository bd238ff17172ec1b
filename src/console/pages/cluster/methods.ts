/** What each method would give a guest and cost, and which is in force: of the guest that is chosen, or the first. */
import { h, replace } from '../../dom.ts';
import type { Place } from '../../page.ts';
import { methodsPicture } from '../../pictures/methods.ts';
import { type ClusterShow, guestLinks } from './section.ts';

export function methodsSection({ main }: Place, chosen: string | undefined): ClusterShow {
  const guests = h('div', {});
  const inner = h('div', {});
  main.append(guests, inner);
  return ({ report }) => {
    const guest = report.guests.find(({ name }) => name === chosen) ?? report.guests[0];
    replace(guests, guestLinks(report.guests, 'methods', guest?.name));
    if (guest === undefined) replace(inner, h('p', { class: 'quiet' }, 'The cluster keeps no guest up yet.'));
    else replace(inner, h('h2', {}, guest.name), ...methodsPicture(guest));
  };
}
