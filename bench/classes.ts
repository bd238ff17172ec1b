/**
 * The classes of the bench and their workloads. A class is a program in guest/bench, whose table of workloads is the
 * only list of them; `boot` is no program but the stock image's way from the start of the process to its shell.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { must } from '../src/base/assert.ts';
import { OperatorError } from '../src/base/errors.ts';

export interface BenchClass {
  readonly name: string;
  readonly title: string;
  /** What a machine whose hot code is translated has to reach: QEMU's time over ours, geometric mean. */
  readonly floor: number;
  readonly goal: number;
}

export const classes: readonly BenchClass[] = [
  { name: 'integer', title: 'hashes, calls, indirect branches, sorting, a mix', floor: 1.8, goal: 3 },
  { name: 'float', title: 'floating point', floor: 3, goal: 5 },
  { name: 'memory', title: 'copies, strides, pointer chases', floor: 1.3, goal: 2 },
  { name: 'system', title: 'system calls, pipes, signals, fork, exec, page faults', floor: 1, goal: 1.5 },
  { name: 'once', title: 'code run once', floor: 20, goal: 50 },
  { name: 'rewrite', title: 'code that rewrites itself', floor: 2, goal: 5 },
  { name: 'boot', title: "Debian's stock kernel to a shell", floor: 1, goal: 2 },
];

/** The classes of io-run.ts, whose guests have a network and a disk; programs of guest/bench too. */
export const ioClasses: readonly BenchClass[] = [
  { name: 'network', title: 'TCP through user networking to a program of the host', floor: 1, goal: 2 },
  { name: 'block', title: "a raw file as a disk, past the guest's page cache", floor: 1, goal: 2 },
];

/** The classes that are programs of guest/bench, of the bench's own initramfs. */
export const programs: readonly string[] = classes.map((one) => one.name).filter((name) => name !== 'boot');

/** Where the programs' sources are. */
export const sourceFolder = fileURLToPath(new URL('../guest/bench/', import.meta.url));

/** All workloads, as `CLASS/NAME`, in the order in which they run. */
export async function allWorkloads(): Promise<string[]> {
  return [...(await workloadsOf(programs)), 'boot/shell'];
}

/** Those of io-run.ts. */
export async function allIoWorkloads(): Promise<string[]> {
  return await workloadsOf(ioClasses.map((one) => one.name));
}

async function workloadsOf(names: readonly string[]): Promise<string[]> {
  const lists = await Promise.all(
    names.map(async (name) => workloadsIn(await readFile(`${sourceFolder}${name}.c`, 'utf8'), name)),
  );
  return lists.flat();
}

/** The rows of a program's table, read from its source. */
export function workloadsIn(source: string, program: string): string[] {
  const table = must(source.split('const struct workload workloads[] = {')[1], `${program} has no table of workloads`);
  return [...table.matchAll(/\{"([a-z0-9-]+)",/g)].map(([, name]) => `${program}/${name}`);
}

/** Those of `all` that `wanted` names: classes, workloads, or `CLASS/NAME`, with commas. Throws `bench-unknown`. */
export function selectWorkloads(all: readonly string[], wanted: string): string[] {
  const words = wanted.split(',').filter((word) => word !== '');
  const fits = (workload: string, word: string) =>
    workload === word || workload.startsWith(`${word}/`) || workload.endsWith(`/${word}`);
  for (const word of words) {
    if (!all.some((workload) => fits(workload, word))) {
      const fix = `use a class (${classes.map((one) => one.name).join(', ')}) or a workload's name`;
      throw new OperatorError('bench-unknown', `there is no class or workload called ${word}`, fix);
    }
  }
  return all.filter((workload) => words.some((word) => fits(workload, word)));
}

/** The same selection in fewer words (a kernel's command line is short): a class that is wanted whole is one word. */
export function shorten(all: readonly string[], wanted: readonly string[]): string[] {
  const words = wanted.map((workload) => {
    const whole = `${classOf(workload)}/`;
    const isWhole = all.every((one) => !one.startsWith(whole) || wanted.includes(one));
    return isWhole ? classOf(workload) : workload;
  });
  return [...new Set(words)];
}

export function classOf(workload: string): string {
  return must(workload.split('/')[0]);
}
