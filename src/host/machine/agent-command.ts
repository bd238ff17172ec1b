/** A command in the guest, through its agent: input fed as it is taken, output collected or told, its exit code. */
import type { AgentSession } from '../agent/index.ts';
import type { ExecOptions, ExecResult } from './machine-api.ts';

/** Resolves when the command has ended. `stdout` and `stderr` are empty where `options` takes them as they come. */
export async function execute(
  session: AgentSession,
  argv: readonly string[],
  options: ExecOptions,
): Promise<ExecResult> {
  const out: Uint8Array[] = [];
  const err: Uint8Array[] = [];
  const execution = session.exec({
    argv,
    ...(options.environment ? { env: options.environment } : {}),
    ...(options.workingFolder ? { cwd: options.workingFolder } : {}),
    ...(options.signal ? { signal: options.signal } : {}),
    onStdout: options.onStdout ?? ((bytes) => out.push(bytes)),
    onStderr: options.onStderr ?? ((bytes) => err.push(bytes)),
  });
  const feeding = (async () => {
    const input = options.stdin ?? [];
    for await (const piece of input instanceof Uint8Array ? [input] : input) await execution.writeStdin(piece);
    execution.closeStdin();
  })();
  // A command that does not read its input closes it: its exit code says what happened.
  feeding.catch(() => undefined);
  const { exitCode } = await execution.ended;
  return { code: exitCode, stdout: Buffer.concat(out), stderr: Buffer.concat(err) };
}
