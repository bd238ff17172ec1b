/** An NBD disk by its URI: connected, checked, and of blocks that a guest may use. */
import { connect, type Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { HostError, OperatorError } from '../../../base/errors.ts';
import { type BlockBackend, SECTOR_BYTES } from '../../../devices/index.ts';
import { AlignedDisk } from '../aligned-disk.ts';
import { type Handshake, shakeHands } from './handshake.ts';
import { NbdDisk } from './nbd-disk.ts';
import { tlsOptions } from './tls.ts';
import { type NbdServer, parseNbdUri } from './uri.ts';

const HANDSHAKE_MS = 10_000;
/** A server's host that vanished is noticed after about so long without traffic. */
const KEEP_ALIVE_MS = 15_000;

export interface NbdOptions {
  readonly readOnly?: boolean;
  /** Seconds for which requests wait for a server that is gone, before they fail. Default 0. */
  readonly reconnectDelaySeconds?: number;
}

export interface OpenNbd {
  readonly disk: BlockBackend;
  close(): Promise<void>;
}

/** Throws OperatorError where the operator can help. */
export async function openNbd(uri: string, options: NbdOptions = {}): Promise<OpenNbd> {
  const server = parseNbdUri(uri);
  const readOnly = options.readOnly ?? false;
  const tls = tlsOf(server);
  const again = (): Promise<Handshake> => dialNbd(server, tls);
  const first = await again().catch((error: unknown) => {
    throw error instanceof OperatorError ? error : unreachable(uri, error);
  });
  try {
    checkExport(uri, first, readOnly);
  } catch (error) {
    first.socket.destroy();
    throw error;
  }
  const reconnectDelayMs = (options.reconnectDelaySeconds ?? 0) * 1000;
  const disk = new NbdDisk(first, { readOnly, reconnectDelayMs, connect: again });
  const backend = disk.blockBytes <= SECTOR_BYTES ? disk : new AlignedDisk(disk, disk.blockBytes);
  return { disk: backend, close: () => disk.close() };
}

function unreachable(uri: string, error: unknown): OperatorError {
  return new OperatorError(
    'nbd-unreachable',
    `${uri} cannot be opened: ${error instanceof Error ? error.message : String(error)}`,
    'Start the server, and check its address: nbdinfo URI',
    { cause: error },
  );
}

function checkExport(uri: string, { info }: Handshake, readOnly: boolean): void {
  if (info.sizeBytes === 0 || info.sizeBytes % SECTOR_BYTES !== 0) {
    throw new OperatorError(
      'disk-size',
      `${uri} has ${info.sizeBytes} bytes; a disk has a multiple of ${SECTOR_BYTES}, and at least one`,
      'Export something of another size.',
    );
  }
  if (info.readOnly && !readOnly) {
    throw new OperatorError('disk-not-writable', `${uri} may only be read`, 'Use it with readonly=on, or snapshot=on.');
  }
}

/** Undefined for a plain connection; throws OperatorError `nbd-tls`. */
export function tlsOf({ address, tls, tlsHost, certificates }: NbdServer): ConnectionOptions | undefined {
  const host = 'host' in address ? address.host : undefined;
  return tls ? tlsOptions(tlsHost ?? host, certificates) : undefined;
}

/** A connection whose handshake is done; rejects as `shakeHands` does, or with what the system says. */
export async function dialNbd(
  { address, exportName }: NbdServer,
  tls: ConnectionOptions | undefined,
): Promise<Handshake> {
  const socket = connect(address);
  const timer = setTimeout(
    () => socket.destroy(new HostError('nbd-silent', 'the server does not answer')),
    HANDSHAKE_MS,
  );
  try {
    await opened(socket);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    return await shakeHands(socket, exportName, tls);
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function opened(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve();
    });
    socket.once('error', reject);
  });
}
