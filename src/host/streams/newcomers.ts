/**
 * Connections that have not shown yet who they are. There are so many at most, and then the oldest gives way: one that does come through
 * does so at once, and those that only sit there cannot keep it out.
 */
import type { Socket } from 'node:net';

export class Newcomers {
  readonly #most: number;
  /** The oldest first. */
  readonly #sockets = new Set<Socket>();

  constructor(most: number) {
    this.#most = most;
  }

  add(socket: Socket): void {
    if (this.#sockets.size >= this.#most) this.dropOldest();
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
  }

  delete(socket: Socket): void {
    this.#sockets.delete(socket);
  }

  /** False: there is none. */
  dropOldest(): boolean {
    for (const socket of this.#sockets) {
      this.#sockets.delete(socket);
      socket.destroy();
      return true;
    }
    return false;
  }

  close(): void {
    while (this.dropOldest());
  }
}
