/**
 * How Node is told to be sparing in a process that owns a machine: one thread for V8's background work (each keeps 7 MiB
 * of its compilers' memory), and small halves of the young generation, which V8 would let grow to 16 MiB in each thread.
 * 90 of 408 MiB less at the peak of a boot, in as much time of the processors (measured: bench/memory.ts). Smaller halves
 * or `--optimize-for-size` spare little more, and collections take a tenth of the boot's time.
 */
export const MACHINE_FLAGS = ['--v8-pool-size=1', '--max-semi-space-size=2'] as const;

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
  process.execve(execPath, [execPath, ...execArgv, ...MACHINE_FLAGS, ...argv.slice(1)], env);
}
