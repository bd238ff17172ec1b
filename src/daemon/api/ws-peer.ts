/** A WebSocket of the package `ws` as a session sees it: messages are pulled, and the other side waits meanwhile. */
import type { RawData, WebSocket } from 'ws';
import { MessageQueue } from '../../client/index.ts';
import type { Peer } from './socket-sessions.ts';

/** Messages that may wait for a session before the socket is no longer read. */
const MOST_WAITING = 64;
/** A peer that does not answer to a ping for so long is gone. */
const PING_MS = 30_000;

export function webSocketPeer(socket: WebSocket): Peer {
  const queue = new MessageQueue();
  const gone = new AbortController();
  let isAlive = true;
  const timer = setInterval(() => {
    if (!isAlive) return socket.terminate();
    isAlive = false;
    socket.ping();
  }, PING_MS);
  timer.unref();
  socket.on('pong', () => {
    isAlive = true;
  });
  socket.on('message', (data, isBinary) => {
    const bytes = bytesOf(data);
    queue.push(isBinary ? bytes : Buffer.from(bytes).toString('utf8'));
    if (queue.length >= MOST_WAITING) socket.pause();
  });
  queue.onTaken = () => {
    if (socket.isPaused && queue.length < MOST_WAITING / 2) socket.resume();
  };
  socket.on('error', () => {}); // 'close' follows
  socket.on('close', () => {
    clearInterval(timer);
    queue.end();
    gone.abort();
  });
  return {
    send: (message) => {
      if (socket.readyState === socket.OPEN) socket.send(message);
    },
    get bufferedBytes() {
      return socket.bufferedAmount;
    },
    messages: () => queue,
    close: (code, reason) => socket.close(code, reason),
    gone: gone.signal,
  };
}

function bytesOf(data: RawData): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}
