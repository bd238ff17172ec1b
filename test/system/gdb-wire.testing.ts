/** The gdb stub's protocol without a gdb: a debugger's own words, one packet at a time. */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { encodePacket, PacketReader } from '../../src/host/gdb/packets.ts';

export class Wire implements AsyncDisposable {
  readonly #socket: Socket;
  readonly #reader = new PacketReader();
  readonly #answers: string[] = [];
  #heard: () => void = () => {};

  constructor(port: number) {
    this.#socket = connect(port, '127.0.0.1');
    this.#socket.on('data', (bytes: Buffer) => {
      for (const incoming of this.#reader.push(bytes)) {
        if (incoming.kind === 'packet') this.#answers.push(Buffer.from(incoming.payload).toString('latin1'));
      }
      this.#heard();
    });
    this.#socket.on('close', () => this.#heard());
  }

  say(payload: string): void {
    this.#socket.write(encodePacket(Buffer.from(payload, 'latin1')));
  }

  interrupt(): void {
    this.#socket.write(Uint8Array.of(3));
  }

  /** The next answer; rejects when the connection ends. */
  async hears(): Promise<string> {
    for (;;) {
      const answer = this.#answers.shift();
      if (answer !== undefined) return answer;
      assert.equal(this.#socket.closed, false, 'the stub left');
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
      });
    }
  }

  async ask(payload: string): Promise<string> {
    this.say(payload);
    return await this.hears();
  }

  /** All general registers of a hart. */
  async registers(hart: number): Promise<string> {
    assert.equal(await this.ask(`Hg${hart + 1}`), 'OK');
    return await this.ask('g');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy();
  }
}
