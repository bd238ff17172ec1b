/**
 * What the machine's process does for one client on its control socket: checks each request against the protocol,
 * then asks the machine. A client that leaves takes its commands and attachments with it.
 */
import type { Duplex } from 'node:stream';
import { HostError, OperatorError } from '../../base/errors.ts';
import type {
  CaptureOptions,
  ExitStatus,
  MachineHandle,
  MachineInfo,
  PromoteOptions,
  Promotion,
  ReplicationReport,
} from '../machine/machine-api.ts';
import { ByteQueue } from './byte-queue.ts';
import { Connection, UnknownMethod } from './connection.ts';
import {
  isMethod,
  type Method,
  notifications,
  type Params,
  pieces,
  protocolVersion,
  type Result,
  requests,
  type Wire,
} from './protocol.ts';
import { encodeData } from './shape.ts';

/** The machine behind a socket: its name is claimed before there is one. */
export interface Served {
  readonly name: string;
  readonly machine: Promise<MachineHandle>;
  /** It stands by: what can be asked before there is a machine. Not any more when it runs. */
  standby?: ServedStandby | undefined;
}

/** A machine that stands by, as its clients see it. */
export interface ServedStandby {
  readonly info: MachineInfo;
  report(): ReplicationReport;
  promote(given: PromoteOptions): Promise<Promotion>;
  kill(): Promise<ExitStatus>;
}

interface Stream {
  readonly input: ByteQueue;
  cancel(): void;
}

const mostStreams = 256;

type Answers = { readonly [M in Method]: (machine: MachineHandle, params: Params<M>) => Promise<Wire<Result<M>>> };

export class ClientSession {
  readonly #served: Served;
  readonly #connection: Connection;
  readonly #streams = new Map<number, Stream>();
  readonly #left = new AbortController();

  constructor(stream: Duplex, served: Served, left: () => void) {
    this.#served = served;
    this.#connection = new Connection(stream, {
      request: (method, params) => this.#request(method, params),
      notify: (method, params) => {
        if (method === 'cancel') this.#streams.get(notifications.cancel(params, 'params').stream)?.cancel();
      },
      closed: () => {
        this.#left.abort(new HostError('client-gone', 'the client left'));
        for (const one of this.#streams.values()) one.cancel();
        left();
      },
    });
    this.#connection.notify('hello', { protocol: protocolVersion, name: served.name, pid: process.pid });
  }

  close(): void {
    this.#connection.closeWhenAnswered();
  }

  async #request(method: string, params: unknown): Promise<unknown> {
    if (!isMethod(method)) throw new UnknownMethod(`there is no method ${method.slice(0, 64)}`);
    return await this.#call(method, params);
  }

  async #call<M extends Method>(method: M, params: unknown): Promise<Wire<Result<M>>> {
    const checked = requests[method].params(params, 'params') as Params<M>;
    const { standby } = this.#served;
    if (standby !== undefined) return (await standbyAnswer(standby, method, checked)) as Wire<Result<M>>;
    const machine = await this.#served.machine;
    return await this.#answers[method](machine, checked);
  }

  readonly #answers: Answers = {
    info: async (machine) => machine.info,
    stats: async (machine) => await machine.stats(),
    explain: async (machine, { pc, ...where }) =>
      await machine.explain({ ...where, ...(pc === undefined ? {} : { pc: BigInt(pc) }) }),
    sites: async (machine, { most }) => ({ sites: await machine.promotedSites(most) }),
    hot: async (machine, { most }) => ({ regions: await machine.hotRegions(most) }),
    protection: async (machine) => await machine.protection(),
    protect: async (machine, change) => {
      await machine.protect(change);
      return {};
    },
    violations: async (machine, { most }) => ({ violations: await machine.violations(most) }),
    switches: async (machine) => await machine.switches(),
    setSwitches: async (machine, change) => {
      await machine.setSwitches(change);
      return {};
    },
    balloon: async (machine) => await machine.balloon(),
    setBalloon: async (machine, { memoryBytes }) => {
      await machine.setBalloon(memoryBytes);
      return {};
    },
    setCap: async (machine, { cap }) => {
      await machine.setCap(cap);
      return {};
    },
    pci: async (machine) => await machine.pci(),
    changeSlot: async (machine, { port, action }) => {
      await machine.changeSlot(port, action);
      return {};
    },
    net: async (machine) => await machine.net(),
    changeNet: async (machine, change) => {
      await machine.changeNet(change);
      return {};
    },
    netEvents: async (machine, { since }) => ({ events: await machine.netEvents(since) }),
    capture: async (machine, { stream, ...options }) => await this.#capture(machine, stream, options),
    ready: async (machine) => {
      await machine.ready(this.#left.signal);
      return {};
    },
    heartbeat: async (machine, params) => {
      await machine.setHeartbeat(params.intervalMs);
      return {};
    },
    agentEvents: async (machine, { since, waitMs }) => ({
      events: await machine.agentEvents(since, waitMs, this.#left.signal),
    }),
    pause: async (machine) => {
      await machine.pause();
      return {};
    },
    resume: async (machine) => {
      await machine.resume();
      return {};
    },
    lease: async (machine, grant) => await machine.lease(grant),
    stop: async (machine, params) => await machine.stop(params),
    kill: async (machine) => await machine.kill(),
    wait: async (machine) => await machine.exited,
    exec: async (machine, params) => await this.#exec(machine, params),
    input: async (_machine, params) => {
      const stream = this.#streams.get(params.stream);
      if (stream === undefined) throw new HostError('no-stream', `there is no stream ${params.stream}`);
      if (params.data.length === 0) stream.input.end();
      else await stream.input.push(params.data);
      return {};
    },
    attach: async (machine, params) => await this.#attach(machine, params.stream),
    type: async (machine, params) => {
      machine.writeConsole(params.data);
      return {};
    },
    history: async (machine) => ({ data: encodeData(machine.consoleHistory()) }),
    partition: async (machine, options) => ({ name: (await machine.createPartition(options)).info.name }),
    fork: async (machine, options) => {
      const { name, fork } = (await machine.fork(options)).info;
      return { name, pausedMs: fork?.pausedMs ?? 0 };
    },
    snapshot: async (machine, { file, ...options }) => await machine.snapshot(file, options),
    replicate: async (machine, options) => {
      await machine.replicate(options);
      return {};
    },
    unreplicate: async (machine) => {
      await machine.unreplicate();
      return {};
    },
    replication: async (machine) => await machine.replication(),
    promote: async () => {
      throw new OperatorError('not-a-standby', 'the machine runs its guest', 'Name one that stands by (kage ps).');
    },
    checkpoint: async (machine, options) => {
      await machine.checkpoint(options);
      return {};
    },
    writeRate: async (machine, { overMs }) => await machine.writeRate(overMs),
    endCheckpoints: async (machine) => {
      await machine.endCheckpoints();
      return {};
    },
    migrate: async (machine, options) => await machine.migrate(options),
  };

  async #exec(machine: MachineHandle, params: Params<'exec'>): Promise<Result<'exec'>> {
    const abort = new AbortController();
    const stream: Stream = {
      input: new ByteQueue(),
      cancel: () => abort.abort(new HostError('cancelled', 'the command was cancelled')),
    };
    return await this.#during(params.stream, stream, async () => {
      const { stream: _, argv, ...where } = params;
      const { code } = await machine.exec(argv, {
        ...where,
        stdin: stream.input,
        onStdout: (bytes) => this.#output(params.stream, 'stdout', bytes),
        onStderr: (bytes) => this.#output(params.stream, 'stderr', bytes),
        signal: abort.signal,
      });
      return { code };
    });
  }

  /** Lasts until the client cancels it or the machine ends. */
  async #attach(machine: MachineHandle, number: number): Promise<Result<'attach'>> {
    const cancelled = Promise.withResolvers<void>();
    return await this.#during(number, { input: new ByteQueue(), cancel: cancelled.resolve }, async () => {
      this.#output(number, 'console', machine.consoleHistory());
      const remove = machine.onConsole((bytes) => this.#output(number, 'console', bytes));
      await Promise.race([cancelled.promise, machine.exited]);
      remove();
      return {};
    });
  }

  /** Lasts as `attach` does. */
  async #capture(machine: MachineHandle, number: number, options: CaptureOptions): Promise<Result<'capture'>> {
    const cancelled = Promise.withResolvers<void>();
    return await this.#during(number, { input: new ByteQueue(), cancel: cancelled.resolve }, async () => {
      const capture = machine.capture(options, (bytes) => this.#output(number, 'stdout', bytes));
      await Promise.race([cancelled.promise, machine.exited]);
      capture.close();
      return {};
    });
  }

  async #during<T>(number: number, stream: Stream, body: () => Promise<T>): Promise<T> {
    if (this.#streams.has(number)) throw new HostError('stream-in-use', `stream ${number} is in use`);
    if (this.#streams.size >= mostStreams) throw new HostError('too-many-streams', 'too many streams are open');
    this.#streams.set(number, stream);
    try {
      return await body();
    } finally {
      this.#streams.delete(number);
      stream.input.close();
    }
  }

  #output(stream: number, channel: 'stdout' | 'stderr' | 'console', bytes: Uint8Array): void {
    for (const piece of pieces(bytes)) {
      this.#connection.notify('output', { stream, channel, data: encodeData(piece) });
    }
  }
}

/** What is asked of a machine that only stands by. */
async function standbyAnswer(standby: ServedStandby, method: Method, params: unknown): Promise<unknown> {
  switch (method) {
    case 'info':
      return standby.info;
    case 'replication':
      return standby.report();
    case 'promote':
      return await standby.promote(params as PromoteOptions);
    case 'stop':
    case 'kill':
      return await standby.kill();
    default:
      throw new OperatorError(
        'machine-stands-by',
        'the guest does not run here: this machine stands by for it',
        'Ask the machine that runs it, or promote this one (kage promote).',
      );
  }
}
