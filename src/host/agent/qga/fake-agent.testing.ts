/** QEMU's guest agent as far as the host can tell, for tests: it answers as the test says, over a port without a guest. */
import { HostError } from '../../../base/errors.ts';
import { VirtualClock } from '../virtual-clock.testing.ts';
import { QemuAgent, type QemuAgentOptions } from './qemu-agent.ts';

export interface Asked {
  readonly execute: string;
  readonly arguments: Readonly<Record<string, unknown>>;
}

/** What is said in answer to a command; undefined: nothing. */
export type Answers = Readonly<Record<string, (args: Asked['arguments']) => unknown>>;

export const refuse = (desc: string): never => {
  throw new HostError('refused', desc);
};

export class FakeQemuAgent {
  readonly clock = new VirtualClock();
  readonly agent: QemuAgent;
  readonly asked: Asked[] = [];
  /** The raw lines, for what is no number of JavaScript. */
  readonly lines: string[] = [];
  answers: Answers;
  #number = 1000;

  constructor(answers: Answers = {}, options: Partial<QemuAgentOptions> = {}) {
    this.answers = { 'guest-info': () => ({ version: '10.0.2', supported_commands: [] }), ...answers };
    const random = (): number => {
      this.#number += 1;
      return this.#number;
    };
    this.agent = new QemuAgent({ write: (bytes) => this.#hear(bytes) }, { clock: this.clock, random, ...options });
  }

  get conversation() {
    return this.agent.conversation;
  }

  say(text: string | Uint8Array): void {
    this.conversation.onData(typeof text === 'string' ? Buffer.from(text, 'utf8') : text);
  }

  #hear(bytes: Uint8Array): void {
    const text = Buffer.from(bytes).toString('latin1').replace(/^\xff/, '');
    const asked = JSON.parse(text) as Asked;
    this.lines.push(text);
    this.asked.push(asked);
    // Not within the call: nobody answers before it was asked.
    queueMicrotask(() => this.#answer(asked));
  }

  #answer({ execute, arguments: args }: Asked): void {
    const own = this.answers[execute];
    if (own === undefined && execute === 'guest-sync-delimited') {
      this.say(Buffer.concat([Uint8Array.of(0xff), Buffer.from(`{"return": ${String(args['id'])}}\n`)]));
      return;
    }
    try {
      const value = own === undefined ? {} : own(args);
      if (value !== undefined) this.say(`{"return": ${JSON.stringify(value)}}\n`);
    } catch (error) {
      this.say(`{"error": {"class": "GenericError", "desc": ${JSON.stringify((error as Error).message)}}}\n`);
    }
  }
}
