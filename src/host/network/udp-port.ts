/** The host's UDP sockets for the user-mode network (IPv4). */
import { createSocket } from 'node:dgram';
import type { UdpPort, UdpSocket, UdpSocketEvents } from '../../network/index.ts';
import { bindError } from './errors.ts';

/** Datagrams that a socket may hold back, in bytes; UDP drops what does not fit. */
const MAX_QUEUED_BYTES = 1 << 20;

export class NodeUdpPort implements UdpPort {
  readonly #open = new Set<UdpSocket>();

  open(bind: { readonly address: string; readonly port: number } | undefined, events: UdpSocketEvents): UdpSocket {
    let bound = false;
    let closed = false;
    const socket = createSocket({
      type: 'udp4',
      // Addresses are numbers already; the default would ask the resolver for each datagram. Binding reports later,
      // as a port has to; datagrams leave at once.
      lookup: (address, _options, done) => {
        if (bound) done(null, address, 4);
        else process.nextTick(done, null, address, 4);
      },
    });
    const own: UdpSocket = {
      send: (bytes, address, port) => {
        if (closed || port === 0 || socket.getSendQueueSize() > MAX_QUEUED_BYTES) return;
        // One datagram that the host refuses (too large, no route) is lost, as on any network.
        socket.send(bytes.slice(), port, address, () => {});
      },
      close: () => {
        if (closed) return;
        closed = true;
        this.#open.delete(own);
        socket.close();
      },
    };
    this.#open.add(own);
    socket.on('listening', () => {
      bound = true;
      if (!closed && bind !== undefined) events.listening(socket.address().port);
    });
    socket.on('message', (message, from) => {
      if (!closed) events.message(message, from.address, from.port);
    });
    socket.on('error', (error) => {
      if (closed) return;
      own.close();
      events.failed(bound || bind === undefined ? error : bindError(error, 'udp', bind.address, bind.port));
    });
    socket.bind(bind === undefined ? { port: 0 } : { address: bind.address, port: bind.port, exclusive: true });
    return own;
  }

  /** Closes every socket. */
  close(): void {
    for (const socket of this.#open) socket.close();
  }
}
