/**
 * The tests that may be left out in CI, each with its reason. A skip matches a row when its reason starts with the
 * row's text and its file with the row's path. The list is data, so that a reviewer sees it grow.
 */
export interface AllowedSkip {
  /** Start of the skip's reason, such as `needs chromium:`. */
  readonly reason: string;
  /** Start of the test file's path from the repository's root; '' for any. */
  readonly file: string;
  /** Why leaving it out is right, one sentence. */
  readonly why: string;
}

export const allowedSkips: readonly AllowedSkip[] = [
  {
    reason: 'needs dtc:',
    file: 'src/machine/fdt/',
    why: 'dtc is a second opinion; the comparison with the tree that QEMU writes runs everywhere',
  },
  {
    reason: 'needs promtool:',
    file: 'test/metrics.test.ts',
    why: 'promtool is a second opinion; a parser of another hand judges the same text everywhere',
  },
  {
    reason: 'needs root:',
    file: 'test/system/network-paths.test.ts',
    why: 'devices and namespaces take privilege; the same failures in virtual time run everywhere',
  },
  {
    reason: 'needs macvtap:',
    file: 'test/system/network-paths.test.ts',
    why: 'some hosts have no macvtap or bridge module; the same failures in virtual time run everywhere',
  },
  {
    reason: 'needs root:',
    file: 'test/system/cluster.test.ts',
    why: 'hosts in namespaces take privilege; the same cases in virtual time run everywhere',
  },
  {
    reason: 'needs macvtap:',
    file: 'test/system/cluster.test.ts',
    why: 'some hosts have no macvtap or bridge module; the same cases in virtual time run everywhere',
  },
  {
    reason: 'needs hosts:',
    file: 'test/system/cluster.test.ts',
    why: 'some hosts have no time namespaces; the same cases in virtual time run everywhere',
  },
];
