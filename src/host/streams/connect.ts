/** A stream to an address: open when the other end is there, and by TLS when it has shown who it is. */
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { StreamAddress } from './address.ts';
import { peerCertificates } from './tls.ts';

const CONNECT_WITHIN_MS = 5000;

/**
 * `tls`: the folder of the certificates. By TLS 1.3 the server judges our certificate afterwards: only its first byte says that it has
 * taken us. Rejects with OperatorError `bad-usage`, or with what the system says.
 */
export async function connectStream(
  address: StreamAddress,
  tls?: string,
  withinMs = CONNECT_WITHIN_MS,
): Promise<Socket> {
  const socket = begin(address, tls);
  const late = setTimeout(() => socket.destroy(new Error('it does not answer')), withinMs);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once(address.kind === 'tls' ? 'secureConnect' : 'connect', resolve);
      socket.once('error', reject);
    });
  } finally {
    clearTimeout(late);
  }
  if (address.kind !== 'unix') socket.setNoDelay(true);
  return socket;
}

function begin({ kind, path, host = '127.0.0.1', port = 0 }: StreamAddress, tls: string | undefined): Socket {
  if (path !== undefined) return connectTcp(path);
  return kind === 'tls' ? connectTls({ host, port, ...peerCertificates(tls) }) : connectTcp({ host, port });
}
