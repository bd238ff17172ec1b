/** Verbs on machines of other processes, through their control sockets. Each returns the exit code. */
import { connectMachine, listMachines } from '../host/index.ts';
import { joinTerminal } from './console.ts';
import type { Io } from './io.ts';
import { type Format, flatten, print, table } from './output.ts';
import { exitCode, readyWithin } from './run.ts';
import { parseEnvironment, parseWait } from './values.ts';

export interface ExecFlags {
  readonly env?: readonly string[];
  readonly workdir?: string;
  readonly wait?: string;
}

export async function exec(io: Io, name: string, argv: readonly string[], flags: ExecFlags): Promise<number> {
  const environment = parseEnvironment(flags.env, io.environment);
  const waitSeconds = parseWait(flags.wait);
  await using machine = await connectMachine(name);
  await readyWithin(waitSeconds, machine.ready(), io.signal);
  const { code } = await machine.exec(argv, {
    environment,
    ...(flags.workdir === undefined ? {} : { workingFolder: flags.workdir }),
    stdin: io.stdin,
    onStdout: (bytes) => io.stdout.write(bytes),
    onStderr: (bytes) => io.stderr.write(bytes),
    signal: io.signal,
  });
  return code;
}

export async function stats(io: Io, names: readonly string[], format: Format): Promise<number> {
  const wanted = names.length > 0 ? names : (await listMachines()).map((one) => one.name);
  const all: Record<string, unknown> = {};
  for (const name of wanted) {
    await using machine = await connectMachine(name);
    all[name] = await machine.stats();
  }
  print(io, format, all, () =>
    table(
      ['machine', 'counter', 'value'],
      Object.entries(all).flatMap(([name, counters]) => flatten(counters).map((row) => [name, ...row])),
    ),
  );
  return 0;
}

/** The terminal on the machine's console until Ctrl-a d, or until the machine ends. */
export async function attach(io: Io, name: string): Promise<number> {
  await using machine = await connectMachine(name);
  const left = new AbortController();
  const onAbort = (): void => left.abort();
  io.signal.addEventListener('abort', onAbort, { once: true });
  const ended = machine.exited();
  ended.catch(() => {}); // the conversation may end first
  let keys: Promise<unknown> = Promise.resolve();
  const giveBack = joinTerminal(io, {
    write: (bytes) => {
      keys = keys.then(() => machine.writeConsole(bytes)).catch(() => {}); // an ended machine takes no keys
    },
    leave: () => void machine.kill().catch(() => {}),
    detach: () => left.abort(),
  });
  try {
    await machine.attach((bytes) => io.stdout.write(bytes), left.signal);
    return left.signal.aborted ? 0 : exitCode(await ended);
  } finally {
    io.signal.removeEventListener('abort', onAbort);
    giveBack();
  }
}
