/**
 * A console joined to this process's terminal: raw mode, so that every key reaches the guest, with Ctrl-a as the way
 * out. Without a terminal, input and output are plain streams.
 */
import { EscapeKeys, escapeHelp } from './escape-keys.ts';
import type { Io } from './io.ts';

export interface ConsoleTarget {
  write(bytes: Uint8Array): void;
  /** Ctrl-a x. */
  leave(): void;
  /** Ctrl-a d. */
  detach(): unknown;
}

/** Joins stdin to the console; the function that it returns gives the terminal back. */
export function joinTerminal(io: Io, target: ConsoleTarget): () => void {
  const { stdin } = io;
  const isTerminal = stdin.isTTY === true;
  const keys = new EscapeKeys();
  const onData = (bytes: Uint8Array): void => {
    if (!isTerminal) {
      target.write(bytes);
      return;
    }
    for (const key of keys.push(bytes)) {
      switch (key.kind) {
        case 'bytes':
          target.write(key.bytes);
          break;
        case 'leave':
          target.leave();
          break;
        case 'detach':
          target.detach();
          break;
        case 'help':
          io.stderr.write(`\r\n${escapeHelp}\r\n`);
          break;
      }
    }
  };
  const onError = (): void => {}; // a stdin that cannot be read is one that says nothing
  if (isTerminal) stdin.setRawMode?.(true);
  stdin.on('data', onData);
  stdin.on('error', onError);
  return () => {
    stdin.off('data', onData);
    stdin.pause();
    if (isTerminal) stdin.setRawMode?.(false);
  };
}
