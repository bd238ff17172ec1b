/** `kage` in namespaces, as operators and service managers start it. */
import type { ChildProcess, SpawnOptions } from 'node:child_process';
import type { Namespace } from '../../bench/network/namespace.ts';
import { kageCommand } from '../kage-command.ts';

export interface Ran {
  readonly stdout: string;
  readonly stderr: string;
}

export function spawnKage(namespace: Namespace, words: readonly string[], options: SpawnOptions): ChildProcess {
  const env = { ...(options.env ?? process.env), NODE_TEST_CONTEXT: undefined };
  return namespace.spawn(process.execPath, [kageCommand, ...words], { ...options, env });
}

/** A verb; rejects with what it said when it ends with anything but 0. */
export async function runKage(namespace: Namespace, words: readonly string[], env: NodeJS.ProcessEnv): Promise<Ran> {
  const child = spawnKage(namespace, words, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const [stdout, stderr] = [heard(child.stdout), heard(child.stderr)];
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`kage ${words.join(' ')}: ${code}, ${stderr.text}${stdout.text}`);
  return { stdout: stdout.text.trim(), stderr: stderr.text };
}

/** One that goes on; resolves when it has said so. */
export async function startKage(
  namespace: Namespace,
  words: readonly string[],
  { says, env = process.env }: { readonly says: RegExp; readonly env?: NodeJS.ProcessEnv },
): Promise<ChildProcess> {
  const child = spawnKage(namespace, words, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  await new Promise<void>((resolve, reject) => {
    const [stdout, stderr] = [heard(child.stdout), heard(child.stderr)];
    stdout.more = () => says.test(stdout.text) && resolve();
    child.once('close', (code) => reject(new Error(`kage ${words[0]} has ended with ${code}: ${stderr.text}`)));
  });
  return child;
}

interface Heard {
  text: string;
  more: () => void;
}

/** The latest of what a stream says. */
function heard(stream: NodeJS.ReadableStream | null): Heard {
  const all: Heard = { text: '', more: () => {} };
  stream?.on('data', (bytes: Buffer) => {
    all.text = (all.text + bytes.toString()).slice(-(1 << 20));
    all.more();
  });
  return all;
}
