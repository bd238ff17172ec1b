/**
 * What becomes of the host's network devices: carrier, and whether they are there, as the kernel tells iproute2. One
 * `ip monitor link` serves all uplinks of the process, in whichever network namespace that is. On a busy host another
 * process has its turn late; so where sysfs shows the device, its carrier is read there as well, each ten milliseconds
 * (carrier-file.ts), and is what counts.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { HostError, OperatorError } from '../../../base/errors.ts';
import { errorCode } from '../errors.ts';
import { CarrierFile } from './carrier-file.ts';

const run = promisify(execFile);

/** Something that ended `ip monitor` may end it again. */
const RESTART_MS = 1000;
const LOOK_MS = 10;

/** One line of `ip -o -d link`. */
export interface HostLink {
  readonly name: string;
  readonly index: number;
  readonly isUp: boolean;
  readonly mtuBytes: number;
  /** `passthru`, `bridge`, `vepa`, `private`; undefined for what is no macvtap device. */
  readonly mode: string | undefined;
  readonly address: string | undefined;
  /** It is there no more. */
  readonly isDeleted: boolean;
}

/** Undefined for what is no such line. */
export function parseHostLink(line: string): HostLink | undefined {
  const [, deleted, index, name, flags] = /^(Deleted )?(\d+): ([^:@\s]+)(?:@[^:\s]+)?: <([^>]*)>/.exec(line) ?? [];
  if (index === undefined || name === undefined || flags === undefined) return undefined;
  const all = flags.split(',');
  return {
    name,
    index: Number(index),
    isUp: all.includes('UP') && all.includes('LOWER_UP') && !all.includes('NO-CARRIER'),
    mtuBytes: Number(/ mtu (\d+)/.exec(line)?.[1] ?? 1500),
    mode: / macvtap mode (\w+)/.exec(line)?.[1],
    address: /link\/ether ([0-9a-f:]{17})/.exec(line)?.[1],
    isDeleted: deleted !== undefined,
  };
}

/** Asks for a device. Errors: `no-such-device`, `no-iproute`. */
export async function hostLink(name: string): Promise<HostLink> {
  try {
    const { stdout } = await run('ip', ['-o', '-d', 'link', 'show', 'dev', name]);
    const link = parseHostLink(stdout);
    if (link !== undefined) return link;
    throw new HostError('unreadable-link', `"ip link" says of ${name} what cannot be read: ${stdout.slice(0, 200)}`);
  } catch (cause) {
    if (cause instanceof HostError) throw cause;
    if (errorCode(cause) === 'ENOENT')
      throw new OperatorError('no-iproute', 'The command "ip" is not there', 'Install iproute2', { cause });
    throw new OperatorError(
      'no-such-device',
      `There is no network device ${name}`,
      `Make it: ip link add link eth0 name ${name} type macvtap mode passthru && ip link set ${name} up`,
      { cause },
    );
  }
}

type Listener = (link: HostLink) => void;

class LinkWatch {
  readonly #listeners = new Map<string, Set<Listener>>();
  #process: ChildProcess | undefined;
  #restart: NodeJS.Timeout | undefined;

  add(name: string, listener: Listener): () => void {
    const those = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, those);
    those.add(listener);
    this.#start();
    return () => {
      those.delete(listener);
      if (those.size === 0) this.#listeners.delete(name);
      if (this.#listeners.size === 0) this.#stop();
    };
  }

  #start(): void {
    if (this.#process !== undefined || this.#restart !== undefined) return;
    const child = spawn('ip', ['-o', 'monitor', 'link'], { stdio: ['ignore', 'pipe', 'ignore'] });
    this.#process = child;
    child.unref();
    createInterface({ input: child.stdout }).on('line', (line) => {
      const link = parseHostLink(line);
      if (link !== undefined) for (const listener of this.#listeners.get(link.name) ?? []) listener(link);
    });
    child.on('error', () => {}); // `close` follows
    child.once('close', () => {
      if (this.#process !== child) return;
      this.#process = undefined;
      this.#restart = setTimeout(() => {
        this.#restart = undefined;
        this.#start();
        this.#askAgain();
      }, RESTART_MS).unref();
    });
  }

  /** What was missed meanwhile. */
  #askAgain(): void {
    for (const [name, listeners] of this.#listeners)
      hostLink(name).then(
        (link) => {
          for (const listener of listeners) listener(link);
        },
        () => {}, // gone: its descriptor says so
      );
  }

  #stop(): void {
    clearTimeout(this.#restart);
    this.#restart = undefined;
    const child = this.#process;
    this.#process = undefined;
    child?.kill();
  }
}

const watch = new LinkWatch();

/** Tells of each change of a device, maybe more than once, until the result is called. */
export function watchHostLink(device: HostLink, listener: Listener): () => void {
  const file = CarrierFile.open(device);
  if (file === undefined) return watch.add(device.name, listener);
  const look = (link: HostLink): void => listener({ ...link, isUp: file.isUp });
  const timer = setInterval(() => {
    if (file.hasChanged()) look(device);
  }, LOOK_MS).unref();
  // What it says may be of an earlier moment than the file; that the device is gone it alone says.
  const remove = watch.add(device.name, look);
  return () => {
    clearInterval(timer);
    remove();
    file.close();
  };
}
