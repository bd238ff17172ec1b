/**
 * A macvtap device as an uplink: made with `ip link add link eth0 name mt0 type macvtap mode passthru`, opened as /dev/tapN
 * (N is its index) without an ioctl. Each read is a frame, each write too, behind a header of ten bytes. The kernel cuts
 * large packets and makes checksums, so frames pass as guests have them.
 *
 * Reading must neither block this thread nor hold threads of libuv's pool for ever, as fs.read would on a descriptor that
 * waits: the event loop polls the descriptor as it polls a pipe's. Node makes such a handle for sockets and pipes that it
 * opens itself; from the class of one of them we make one for ours. Writing never waits: what the kernel has no
 * room for is lost, as on any wire. A write does not fail when the carrier is gone: link-watch.ts tells of that.
 */
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { HostError, OperatorError } from '../../../base/errors.ts';
import type { FrameOffload, NetdevOptions, UplinkPort } from '../../../network/index.ts';
import { errorCode } from '../errors.ts';
import type { LinkFacts, OpenedLink } from './link.ts';
import { type HostLink, hostLink, watchHostLink } from './link-watch.ts';
import { readVnetHeader, VNET_HEADER_BYTES, writeVnetHeader } from './vnet-header.ts';

/** An IP packet of 65535 bytes, with tags, behind its header. */
const LONGEST_BYTES = 65_535 + 22 + VNET_HEADER_BYTES;
/** Opened before the device node is there: udev, or devtmpfs, makes it a moment after the device. */
const NODE_WITHIN_MS = 1000;

/** Errors: `no-such-device`, `not-macvtap`, `device-not-permitted`, `no-iproute`. */
export async function openMacvtapLink({ ifname = '' }: NetdevOptions): Promise<OpenedLink> {
  const device = await hostLink(ifname);
  if (device.mode === undefined)
    throw new OperatorError(
      'not-macvtap',
      `${ifname} is no macvtap device`,
      `Make one over it: ip link add link ${ifname} name mt0 type macvtap mode passthru && ip link set mt0 up`,
    );
  return new MacvtapLink(device, await openTap(device));
}

async function openTap({ name, index }: HostLink): Promise<number> {
  const path = `/dev/tap${index}`;
  const untilMs = performance.now() + NODE_WITHIN_MS;
  for (;;) {
    try {
      return openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
    } catch (cause) {
      const code = errorCode(cause);
      if (code === 'ENOENT' && performance.now() < untilMs) {
        await new Promise((resolve) => setTimeout(resolve, 10));
        continue;
      }
      if (code === 'EACCES' || code === 'EPERM')
        throw new OperatorError(
          'device-not-permitted',
          `${path} may not be opened`,
          `chown it: sudo chown $USER ${path}`,
          {
            cause,
          },
        );
      if (code === 'EBUSY')
        throw new OperatorError('device-in-use', `${name} is in use by another program`, 'End it, or make another', {
          cause,
        });
      throw new HostError('cannot-open', `${path}, of ${name}, cannot be opened: ${String(cause)}`, { cause });
    }
  }
}

class MacvtapLink implements OpenedLink {
  readonly facts: LinkFacts;
  readonly link = { send: (frame: Uint8Array, offload?: FrameOffload): boolean => this.#send(frame, offload) };
  readonly #device: HostLink;
  readonly #descriptor: number;
  readonly #out = new Uint8Array(LONGEST_BYTES);
  #uplink: UplinkPort | undefined;
  #socket: Socket | undefined;
  #unwatch = (): void => {};
  #isClosed = false;

  constructor(device: HostLink, descriptor: number) {
    this.#device = device;
    this.#descriptor = descriptor;
    // In other modes than passthru a device gets frames for its own address alone: answers to probes never come.
    const address = device.address === undefined ? {} : { onlyAddress: device.address };
    const limits = device.mode === 'passthru' ? {} : ({ probing: 'none', ...address } as const);
    this.facts = { mtuBytes: device.mtuBytes, offloads: true, carrier: device.isUp, ...limits };
  }

  join(port: UplinkPort): void {
    this.#uplink = port;
    this.#unwatch = watchHostLink(this.#device, (now) => this.#heard(now));
    this.#socket = readFrames(this.#descriptor, (bytes) => {
      if (bytes.length > VNET_HEADER_BYTES)
        this.#uplink?.receive(bytes.subarray(VNET_HEADER_BYTES), readVnetHeader(bytes));
    });
    this.#socket.once('close', () => {
      if (!this.#isClosed) this.#remove('the device cannot be read any more');
    });
    // Between the look at the device and the watch it may have changed.
    hostLink(this.#device.name).then(
      (now) => this.#heard(now),
      () => this.#remove('the device was deleted'),
    );
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#uplink = undefined;
    this.#unwatch();
    // The handle owns the descriptor once there is one.
    if (this.#socket === undefined) closeSync(this.#descriptor);
    else this.#socket.destroy();
  }

  #heard(now: HostLink): void {
    if (this.#isClosed) return;
    if (now.isDeleted || now.index !== this.#device.index) this.#remove('the device was deleted');
    else this.#uplink?.setCarrier(now.isUp, now.isUp ? 'carrier regained' : 'carrier lost');
  }

  #remove(cause: string): void {
    const uplink = this.#uplink;
    this.close();
    uplink?.remove(cause);
  }

  #send(frame: Uint8Array, offload: FrameOffload | undefined): boolean {
    if (this.#isClosed || frame.length + VNET_HEADER_BYTES > LONGEST_BYTES) return false;
    if (!writeVnetHeader(this.#out, frame, offload)) return false;
    this.#out.set(frame, VNET_HEADER_BYTES);
    try {
      writeSync(this.#descriptor, this.#out, 0, frame.length + VNET_HEADER_BYTES);
      return true;
    } catch {
      // No room, no carrier, a device that is being deleted: lost either way.
      return false;
    }
  }
}

interface PollHandle {
  /** 0, or a negative error number. */
  open(descriptor: number): number;
}

/** Calls `frame` with what each read gives, lent for the call. The result owns the descriptor. */
function readFrames(descriptor: number, frame: (bytes: Uint8Array) => void): Socket {
  const handle = pollHandle();
  const failure = handle.open(descriptor);
  if (failure !== 0) throw new HostError('cannot-open', `The device cannot be polled (error ${failure})`);
  const buffer = new Uint8Array(LONGEST_BYTES);
  const onread = {
    buffer,
    callback: (bytes: number): boolean => {
      frame(buffer.subarray(0, bytes));
      return true;
    },
  };
  // `handle` is what Node itself passes for sockets that a server accepts.
  const options: unknown = { handle, onread, readable: true, writable: false };
  const socket = new Socket(options as ConstructorParameters<typeof Socket>[0]);
  socket.on('error', () => {}); // `close` follows
  socket.resume();
  return socket;
}

/** A handle of libuv's for streams, of the class that Node's sockets on paths have. */
function pollHandle(): PollHandle {
  const socket = new Socket();
  socket.on('error', () => {});
  socket.connect('/nonexistent/kagemusha');
  const { _handle: own } = socket as unknown as { _handle: object | null };
  socket.destroy();
  const Class = own?.constructor as (new (kind: number) => Partial<PollHandle>) | undefined;
  const handle = Class === undefined ? undefined : new Class(0);
  if (typeof handle?.open === 'function') return handle as PollHandle;
  throw new HostError('cannot-poll', `This version of Node (${process.version}) has no handle for devices`);
}
