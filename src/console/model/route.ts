/** Where in the console somebody is, as the address behind `#` says it. */
export const SECTIONS = ['overview', 'terminal', 'command', 'logs', 'network', 'mechanisms', 'events', 'spec'] as const;
export type Section = (typeof SECTIONS)[number];

export const CLUSTER_SECTIONS = ['hosts', 'heartbeats', 'methods', 'failovers'] as const;
export type ClusterSection = (typeof CLUSTER_SECTIONS)[number];

export type Route =
  | { readonly kind: 'partitions' }
  | { readonly kind: 'create' }
  | { readonly kind: 'events' }
  | { readonly kind: 'cluster'; readonly section: ClusterSection; readonly guest?: string }
  | { readonly kind: 'partition'; readonly name: string; readonly section: Section; readonly detail?: string };

/** What is not understood leads to the list. */
export function parseRoute(hash: string): Route {
  const [first = '', name = '', section = '', detail] = hash
    .replace(/^#?\/?/, '')
    .split('/')
    .map(decoded);
  if (first === 'new') return { kind: 'create' };
  if (first === 'events') return { kind: 'events' };
  if (first === 'cluster') return clusterRoute(name, section);
  if (first !== 'p' || name === '') return { kind: 'partitions' };
  const known = SECTIONS.find((one) => one === section) ?? 'overview';
  return { kind: 'partition', name, section: known, ...(detail === undefined ? {} : { detail }) };
}

function clusterRoute(name: string, guest: string): Route {
  const section = CLUSTER_SECTIONS.find((one) => one === name) ?? 'hosts';
  return { kind: 'cluster', section, ...(guest === '' ? {} : { guest }) };
}

export function hashOf(route: Route): string {
  if (route.kind === 'partitions') return '#/';
  if (route.kind === 'create') return '#/new';
  if (route.kind === 'events') return '#/events';
  if (route.kind === 'cluster') {
    const { section: part, guest } = route;
    const path = part === 'hosts' && guest === undefined ? [] : [part, ...(guest === undefined ? [] : [guest])];
    return `#/${['cluster', ...path].map(encodeURIComponent).join('/')}`;
  }
  const { name, section, detail } = route;
  return `#/p/${[name, section, ...(detail === undefined ? [] : [detail])].map(encodeURIComponent).join('/')}`;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return '';
  }
}
