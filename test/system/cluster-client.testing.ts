/** A client on the hosts' segment: what it does there is done by a relay in its namespace (cluster-relay.testing.ts). */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HostError } from '../../src/base/errors.ts';
import type { Seat } from './cluster-segment.testing.ts';
import { RECORD_PORT } from './record-guest.testing.ts';
import { RecordClient } from './records.testing.ts';

const TRY_EACH_MS = 100;
const TRY_FOR_MS = 1500;

export interface Answer {
  /** Date.now() at that moment. */
  readonly atMs: number;
  /** Of the guest: another one is another boot. */
  readonly boot: string;
}

export class ClientHost implements AsyncDisposable {
  readonly #path: string;
  readonly #relay: ChildProcess;

  static async start({ namespace }: Seat, folder: string): Promise<ClientHost> {
    const path = join(folder, 'relay.sock');
    const program = join(import.meta.dirname, 'cluster-relay.testing.ts');
    const relay = namespace.spawn(process.execPath, [program, path], {
      ...{ stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, NODE_TEST_CONTEXT: undefined } },
    });
    await once(relay.stdout as NodeJS.ReadableStream, 'data');
    return new ClientHost(path, relay);
  }

  private constructor(path: string, relay: ChildProcess) {
    this.#path = path;
    this.#relay = relay;
  }

  /** A TCP connection from the client's namespace. */
  async connect(address: string, port: number, withinMs = 5000): Promise<Socket> {
    const socket = connect(this.#path);
    const timer = setTimeout(() => socket.destroy(), withinMs);
    try {
      socket.on('error', () => {});
      socket.write(`${address} ${port}\n`);
      const first = await Promise.race([once(socket, 'data'), once(socket, 'close').then(() => undefined)]);
      const line = first === undefined ? 'no answer' : String(first[0]).trim();
      if (line !== 'ok') throw new HostError('not-connected', `${address}:${port}: ${line}`);
      return socket.pause();
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async records(address: string, first = 1): Promise<RecordClient> {
    return new RecordClient(await this.connect(address, RECORD_PORT), first);
  }

  /** A record as the guest reads it from its disk. */
  async read(address: string, record: number): Promise<string> {
    return (await this.#say(address, `read ${record}`, 10_000)).replace(/^is \d+ /, '');
  }

  /** The guest's first answer to one of many that ask, from now on; undefined: none within the time. */
  async firstAnswer(address: string, withinMs: number): Promise<Answer | undefined> {
    const untilMs = Date.now() + withinMs;
    const found = Promise.withResolvers<Answer | undefined>();
    let isFound = false;
    const ask = async (): Promise<void> => {
      try {
        const boot = (await this.#say(address, 'boot', TRY_FOR_MS)).replace(/^boot /, '');
        isFound = true;
        found.resolve({ atMs: Date.now(), boot });
      } catch {
        // The next one.
      }
    };
    while (!isFound && Date.now() < untilMs) {
      void ask();
      await Promise.race([sleep(TRY_EACH_MS), found.promise]);
    }
    found.resolve(undefined);
    return await found.promise;
  }

  /** An HTTP server's answer; undefined: none, or no success. */
  async http(url: string, body: string | undefined): Promise<string | undefined> {
    const { hostname, port } = new URL(url);
    let socket: Socket | undefined;
    try {
      socket = await this.connect(hostname, Number(port), 500);
      const own = socket;
      const agent = new Agent({ keepAlive: false });
      // Nothing comes before it is asked for.
      agent.createConnection = () => own.resume();
      const method = body === undefined ? 'GET' : 'POST';
      const asked = request(url, { method, agent, signal: AbortSignal.timeout(1000) }).end(body);
      const [response] = await once(asked, 'response');
      let text = '';
      for await (const bytes of response) text += String(bytes);
      return response.statusCode === 200 ? text : undefined;
    } catch {
      return undefined;
    } finally {
      socket?.destroy();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#relay.kill('SIGKILL');
  }

  /** One line is said and one is heard, over a connection of their own. */
  async #say(address: string, line: string, withinMs: number): Promise<string> {
    const untilMs = performance.now() + withinMs;
    const socket = await this.connect(address, RECORD_PORT, withinMs);
    const timer = setTimeout(() => socket.destroy(), untilMs - performance.now());
    try {
      socket.write(`${line}\n`);
      let text = '';
      for await (const bytes of socket) {
        text += String(bytes);
        if (text.endsWith('\n')) return text.trim();
      }
      throw new HostError('no-answer', `${address} did not answer ${line}`);
    } finally {
      clearTimeout(timer);
      socket.destroy();
    }
  }
}
