/**
 * What a test needs beyond Node: `test('...', requires('qemu'), ...)`. A test whose need is not met is left out
 * with the reason, and `npm test` closes with a list of what was left out. Where CI is set, a need that is not met
 * fails the run unless test/allowed-skips.ts gives a reason.
 *
 * Detection only: tools/test.ts reads the `requires(...)` calls in the text of the test files and provides what can be
 * provided before the first test starts (so write the call, with its names, in the test file itself): test files
 * that run side by side never download the same thing.
 */
import { spawnSync } from 'node:child_process';
import { isProvided, type ToolName, toolNames } from './toolbox.ts';

/** In a network namespace of its own, which takes them with it. */
const MACVTAP =
  'ip link add kage0 type veth peer name kage1 && ip link add link kage0 name kage2 type macvtap mode passthru && ip link add kage3 type bridge';

/** All that a host has of its own, its clock too (bench/network/namespace.ts). */
const HOST = '--net --mount --mount-proc --pid --fork --kill-child --time --boottime 1 --monotonic 1'.split(' ');

/** Each capability with its detection: undefined when it is there, else what is missing and how to get it. */
const detections = {
  qemu: () => toolMissing('qemu'),
  disks: () => toolMissing('disks'),
  etcd: () => toolMissing('etcd'),
  gdb: () => toolMissing('gdb'),
  cross: () => toolMissing('cross'),
  sessions: () => toolMissing('sessions'),
  apt: () => (succeeds('apt-get', ['--version']) ? undefined : 'there is no apt-get on this machine'),
  root: () => (process.getuid?.() === 0 ? undefined : 'the tests do not run as root'),
  netns: () =>
    succeeds('unshare', ['--net', 'true']) || succeeds('unshare', ['--user', '--map-root-user', '--net', 'true'])
      ? undefined
      : 'network namespaces cannot be made here',
  macvtap: () =>
    succeeds('unshare', ['--net', 'sh', '-c', MACVTAP])
      ? undefined
      : 'macvtap devices cannot be made here (iproute2, root)',
  hosts: () =>
    succeeds('unshare', [...HOST, 'env', '--ignore-signal=CHLD', 'setpriv', '--pdeathsig', 'KILL', 'true'])
      ? undefined
      : 'namespaces with processes and clocks of their own cannot be made here (root, Linux 5.6, util-linux 2.36, coreutils 8.31)',
  dtc: () => (succeeds('dtc', ['--version']) ? undefined : 'there is no dtc on this machine (device-tree-compiler)'),
  promtool: () =>
    succeeds('promtool', ['--version']) ? undefined : 'there is no promtool on this machine (prometheus)',
  mke2fs: () => (succeeds('mke2fs', ['-V']) ? undefined : 'there is no mke2fs on this machine (package e2fsprogs)'),
  chromium: () => (succeeds('chromium', ['--version']) ? undefined : 'there is no chromium on this machine'),
} satisfies Record<string, () => string | undefined>;

export type Capability = keyof typeof detections;

const found = new Map<Capability, string | undefined>();

/** Why `name` is not to be had, or undefined when it is. Detected once a process. */
export function lacks(name: Capability): string | undefined {
  if (!found.has(name)) found.set(name, detections[name]());
  return found.get(name);
}

/** Options for `test` or `describe`: skips with `needs NAME: why` unless every capability named is there. */
export function requires(...names: readonly Capability[]): { skip: string | false } {
  for (const name of names) {
    const reason = lacks(name);
    if (reason !== undefined) return { skip: `needs ${name}: ${reason}` };
  }
  return { skip: false };
}

/** The capabilities that a test file asks for, read from its text. */
export function capabilitiesIn(source: string): Capability[] {
  const names = new Set<Capability>();
  for (const call of source.matchAll(/\brequires\(([^)]*)\)/g)) {
    for (const [, name] of (call[1] ?? '').matchAll(/'([\w-]+)'/g)) {
      if (name !== undefined && isCapability(name)) names.add(name);
    }
  }
  return [...names];
}

/** Whether the toolbox can provide this capability. */
export function isTool(name: Capability): name is Capability & ToolName {
  return toolNames.some((tool) => tool === name);
}

function isCapability(name: string): name is Capability {
  return name in detections;
}

function toolMissing(name: ToolName): string | undefined {
  return isProvided(name) ? undefined : `not unpacked; \`npm run toolbox -- ${name}\` does it`;
}

function succeeds(program: string, args: readonly string[]): boolean {
  return spawnSync(program, [...args], { stdio: 'ignore', timeout: 20_000 }).status === 0;
}
