/**
 * The rooms of src/ and what each may import: the one place where the layering is written down. The linter
 * (tools/check-layers.ts), tsconfig.core.json's list and the drawing in docs/ARCHITECTURE.md follow from it.
 * Rooms are in the order in which data flows, from a guest's bytes to the host.
 */
export interface Room {
  readonly name: string;
  /** One line for the drawing. */
  readonly holds: string;
  /** Rooms it may import, through their `index.ts` (files of `base` one by one). */
  readonly imports: readonly string[];
  /** A second door, to what must be done before the modules behind the first are loaded; it loads next to nothing. */
  readonly early?: string;
  /** Another, to what few need: it is loaded with them alone. */
  readonly late?: string;
  /** A core room knows neither Node nor the DOM: time, chance and I/O reach it through ports. */
  readonly core: boolean;
  /** It lives in a web page: the DOM, workers, fetch, and nothing of Node. */
  readonly web?: true;
  /** Packages it may import; they come with the published package. */
  readonly packages?: readonly string[];
}

export const rooms: readonly Room[] = [
  { name: 'base', holds: 'brands, assertions, errors, layouts of shared memory', imports: [], core: true },
  { name: 'isa', holds: 'the instruction table and what derives from it', imports: ['base'], core: true },
  { name: 'wasm', holds: 'writer of WebAssembly modules', imports: ['base'], core: true },
  {
    name: 'engine',
    holds: 'frames, MMU, generated interpreter: run(vcpu, budget) -> Exit',
    imports: ['base', 'isa', 'wasm'],
    core: true,
  },
  {
    name: 'translator',
    holds: 'hot code to regions of WebAssembly, promotion',
    imports: ['base', 'isa', 'wasm', 'engine'],
    core: true,
  },
  {
    name: 'hypervisor',
    holds: 'partitions, vCPUs, SBI, exits, interrupts',
    imports: ['base', 'isa', 'wasm', 'engine', 'translator'],
    core: true,
  },
  { name: 'devices', holds: 'register models over interfaces they declare themselves', imports: ['base'], core: true },
  { name: 'network', holds: "virtual switch, paths, the user-mode network's logic", imports: ['base'], core: true },
  {
    name: 'cluster',
    holds: 'leases, heartbeats, takeover, methods of failover; its simulator',
    imports: ['base'],
    core: true,
  },
  {
    name: 'machine',
    holds: 'joins all: memory map, device tree, boot, snapshots',
    imports: ['base', 'isa', 'wasm', 'engine', 'translator', 'hypervisor', 'devices', 'network'],
    core: true,
  },
  {
    name: 'replication',
    holds: 'checkpoint streams: hot standby, output commit, live migration',
    imports: ['base', 'machine'],
    core: true,
  },
  {
    name: 'host',
    holds: 'Node side: workers, files, sockets, guest images, gdb server',
    imports: [
      ...['base', 'isa', 'wasm', 'engine', 'translator', 'hypervisor', 'devices', 'network', 'machine'],
      ...['replication', 'cluster'],
    ],
    early: 'machine/processor-worker-start.ts',
    late: 'cluster/index.ts',
    core: false,
  },
  {
    name: 'client',
    holds: "typed client of the daemon's API, in pages and in Node",
    imports: [],
    core: false,
    web: true,
  },
  {
    name: 'daemon',
    holds: 'partitions that people operate: store, supervisor, API',
    imports: ['base', 'client', 'network', 'hypervisor', 'machine', 'cluster', 'host'],
    core: false,
    packages: ['@hono/node-server', 'hono', 'ws', 'zod'],
  },
  {
    name: 'browser',
    holds: 'the same in a web page: workers, fetched images, a demo',
    imports: ['base', 'isa', 'wasm', 'engine', 'hypervisor', 'devices', 'network', 'machine'],
    core: false,
    web: true,
    packages: ['@xterm/xterm'],
  },
  {
    name: 'console',
    holds: "the daemon's pages for people: terminals, charts, mechanisms",
    imports: ['client'],
    core: false,
    web: true,
    packages: ['@xterm/xterm'],
  },
  {
    name: 'cli',
    holds: 'the command `kage`',
    imports: ['base', 'isa', 'hypervisor', 'devices', 'network', 'machine', 'host', 'client', 'daemon'],
    core: false,
    packages: ['commander', 'yaml'],
  },
];

/** The library's door, src/index.ts, shows what these rooms offer. */
export const libraryImports: readonly string[] = ['base', 'machine', 'host'];

/** Rooms whose every file is a door of its own: small, without state, used by everyone. */
export const openRooms: readonly string[] = ['base'];
