/**
 * How Node is told to be sparing in a process that owns a machine (all measured: bench/memory.ts).
 *
 * One thread for V8's background work, as each keeps 7 MiB of its compilers' memory. Small halves of the young generation,
 * which V8 would let grow to 16 MiB in each thread; smaller ones cost a tenth of the boot's time. An old generation that
 * is collected when it has grown by a tenth: a machine's threads have little that lives, and make most of their garbage
 * while they load. One arena of the C library, which gives back what its top holds free, and large blocks at once:
 * compilers fill and leave it all the time, and of an arena for each thread it returned next to nothing.
 */
export const MACHINE_FLAGS = ['--v8-pool-size=1', '--max-semi-space-size=2', '--heap-growing-percent=10'] as const;
/** Of the environment; what the operator has set stays. */
export const MACHINE_ENVIRONMENT = {
  MALLOC_ARENA_MAX: '1',
  MALLOC_TRIM_THRESHOLD_: '131072',
  MALLOC_MMAP_THRESHOLD_: '65536',
} as const;

/** What of a process is needed to replace it: Node has `execve` where the system has it. */
interface Replaceable {
  readonly execPath: string;
  readonly execArgv: readonly string[];
  readonly argv: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly connected?: boolean;
  execve?(file: string, args: readonly string[], env: NodeJS.ProcessEnv): never;
}

/**
 * Replaces the process by one with the same arguments and the machine's flags, unless it has them. It takes as long as
 * Node's own start (40 ms). A process that is talked to over Node's channel would lose it, and stays.
 */
export function startWithMachineFlags(process: Replaceable): void {
  const { execPath, execArgv, argv, env, connected } = process;
  if (process.execve === undefined || connected === true || MACHINE_FLAGS.some((flag) => execArgv.includes(flag)))
    return;
  const args = [execPath, ...execArgv, ...MACHINE_FLAGS, ...argv.slice(1)];
  process.execve(execPath, args, { ...MACHINE_ENVIRONMENT, ...env });
}
