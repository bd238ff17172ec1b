/** Our own agent, as the host asks things of any: commands fed as they take it, their output as it comes. */
import type { ExecOptions, ExecResult } from '../machine/machine-api.ts';
import type { Beat } from './frames.ts';
import type { Frozen, GuestAgent } from './guest-agent.ts';
import type { AgentSession } from './session.ts';

export class KagemushaAgent implements GuestAgent {
  readonly kind = 'kagemusha';
  readonly session: AgentSession;
  #version: string | undefined;

  constructor(session: AgentSession) {
    this.session = session;
    session.answered.then(
      ({ version }) => {
        this.#version = `${version}`;
      },
      () => {}, // whoever waits for it is told
    );
  }

  /** Of its protocol. */
  get version(): string | undefined {
    return this.#version;
  }

  get hasAnswered(): boolean {
    return this.session.hasAnswered;
  }

  set onPresence(told: (() => void) | undefined) {
    this.session.onPresence = told;
  }

  get isFrozen(): boolean {
    return this.session.isFrozen;
  }

  get beatsByItself(): boolean {
    return !this.session.isOld;
  }

  async ready(signal?: AbortSignal): Promise<void> {
    await this.session.ready(signal);
  }

  /** Resolves when the command has ended. `stdout` and `stderr` are empty where `options` takes them as they come. */
  async execute(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    const out: Uint8Array[] = [];
    const err: Uint8Array[] = [];
    const execution = this.session.exec({
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

  async ping(signal?: AbortSignal): Promise<void> {
    await this.session.ping(signal);
  }

  async shutdown(signal?: AbortSignal): Promise<void> {
    await this.session.shutdown('poweroff', signal);
  }

  async freeze(limitMs: number, signal?: AbortSignal): Promise<Frozen> {
    return await this.session.freeze(limitMs, signal);
  }

  async thaw(signal?: AbortSignal): Promise<number> {
    return await this.session.thaw(signal);
  }

  beat(intervalMs: number, heard: (beat: Beat) => void): void {
    this.session.beat(intervalMs, heard);
  }

  tellHealth(word: string): void {
    this.session.tellHealth(word);
  }
}
