/**
 * A segment of its own, in network namespaces, for measuring what becomes of a guest whose paths fail:
 *
 *     ours:  mt1 over h1 ---- s1 \
 *            mt2 over h2 ---- s2  br0 (a learning bridge, in a namespace) ---- sp ---- p0 10.9.0.2 (the peer's namespace)
 *
 * This process must be alone in a network namespace (`unshare --net`). The other two are held by processes that end with
 * this one's pipes, so that nothing is left behind, however it ends; no interface is touched that was not made here.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { assert, must } from '../../src/base/assert.ts';
import { Namespace, ownNamespace } from './namespace.ts';

export const PEER_ADDRESS = '10.9.0.2';
/** Device nodes are one space for all namespaces: indexes that nobody else takes. */
const FIRST_INDEX = 1_000_000 + (process.pid % 100_000) * 10;

/** Names the namespace that we came from, for those that must not be in it. */
const OUTER = 'KAGE_OUTER_NAMESPACE';

/** Runs a program of Node in a network namespace of its own; its exit code. */
export async function inNamespace(args: readonly string[]): Promise<number> {
  const env = { ...process.env, [OUTER]: ownNamespace() };
  // With a sysfs that shows this namespace's devices.
  const inside = 'mount -t sysfs sysfs /sys && exec "$@"';
  const words = ['--net', '--mount', 'sh', '-c', inside, 'sh', process.execPath, ...args];
  const child = spawn('unshare', words, { stdio: 'inherit', env });
  const [code] = (await once(child, 'close')) as [number | null];
  return code ?? 1;
}

export class SegmentLab {
  readonly devices: readonly string[];
  readonly #bridge = new Namespace();
  readonly #peer = new Namespace();
  readonly #tools: { readonly ip: ChildProcess; readonly bridge: ChildProcess };

  constructor({ mtuBytes = 1500 }: { readonly mtuBytes?: number } = {}) {
    assert(process.env[OUTER] !== undefined && process.env[OUTER] !== ownNamespace(), 'not in a namespace of its own');
    ip('link set lo up');
    const { pid: bridge } = this.#bridge;
    const { pid: peer } = this.#peer;
    this.#bridge.ip('link add br0 type bridge stp_state 0 forward_delay 0');
    ip(`link add p0 mtu ${mtuBytes} type veth peer name sp mtu ${mtuBytes}`);
    ip(`link set p0 netns ${peer}`);
    ip(`link set sp netns ${bridge}`);
    for (const i of [1, 2]) {
      ip(`link add h${i} mtu ${mtuBytes} type veth peer name s${i} mtu ${mtuBytes}`);
      ip(`link set s${i} netns ${bridge}`);
    }
    this.#bridge.ip(...['s1', 's2', 'sp'].map((port) => `link set ${port} master br0 up`), 'link set br0 up');
    this.#peer.ip(`addr add ${PEER_ADDRESS}/24 dev p0`, 'link set p0 up');
    this.devices = [1, 2].map((i) => {
      ip(`link set h${i} up`);
      ip(`link add link h${i} name mt${i} index ${FIRST_INDEX + i} type macvtap mode passthru`);
      ip(`link set mt${i} up`);
      return `mt${i}`;
    });
    const tool = (name: string): ChildProcess =>
      this.#bridge.spawn(name, ['-batch', '-'], { stdio: ['pipe', 'inherit', 'inherit'] });
    this.#tools = { ip: tool('ip'), bridge: tool('bridge') };
  }

  /** The far end of a path loses its carrier, or stops to forward; or is put right. What it takes to say so is a write. */
  fail(device: string, how: 'carrier' | 'silent', isFailed: boolean): void {
    const port = device.replace('mt', 's');
    if (how === 'carrier') must(this.#tools.ip.stdin).write(`link set ${port} ${isFailed ? 'down' : 'up'}\n`);
    else must(this.#tools.bridge.stdin).write(`link set dev ${port} state ${isFailed ? 0 : 3}\n`);
  }

  /** A program of Node in the peer's namespace. */
  peer(file: string, args: readonly string[]): ChildProcess {
    return this.peerProgram(process.execPath, [file, ...args]);
  }

  peerProgram(program: string, args: readonly string[]): ChildProcess {
    return this.#peer.spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  }

  /** A device of ours is deleted. */
  delete(device: string): void {
    ip(`link del ${device}`);
  }

  close(): void {
    for (const one of [this.#tools.ip, this.#tools.bridge]) one.stdin?.end();
    for (const one of [this.#bridge, this.#peer]) one.close();
  }
}

function ip(words: string): void {
  execFileSync('ip', words.split(' '), { stdio: ['ignore', 'ignore', 'inherit'] });
}
