/** The one place where an error becomes the line that an operator reads: `kage: MESSAGE. FIX`. */
import { CommanderError } from 'commander';
import { HostError, OperatorError } from '../base/errors.ts';
import { ApiError } from '../client/index.ts';

/** The line, without its newline. A bug of ours keeps its stack where `debug` is set. */
export function failureLine(error: unknown, debug = false): string {
  if (error instanceof OperatorError) return line(error.message, error.fix);
  if (error instanceof ApiError && error.code !== 'bug')
    return line(error.message, error.fix ?? 'Try again; "kage ps" shows what runs');
  if (error instanceof CommanderError) {
    const [first = '', ...more] = error.message.replace(/^error: /, '').split('\n');
    const hint = more.join(' ').replace(/^\((.*)\)$/, '$1');
    return line(first, hint === '' ? 'See "kage --help"' : `${hint} See "kage --help"`);
  }
  if (error instanceof HostError) return line(error.message, causeOf(error) ?? 'Try again; "kage ps" shows what runs');
  // What the system refused where nobody said it better: its own words hold the reason and the path.
  if (error instanceof Error && 'syscall' in error && 'code' in error) {
    return line(error.message, 'Put that right, and try again');
  }
  const text = error instanceof Error ? error.message : String(error);
  if (debug && error instanceof Error) return `kage: ${error.stack}`;
  return line(`this is a bug: ${text}`, 'Please report it, with the stack that KAGE_DEBUG=1 shows');
}

function line(message: string, fix: string): string {
  const one = (text: string): string =>
    text
      .trim()
      .replace(/\s*\n\s*/g, ' ')
      .replace(/\.$/, '');
  const sentence = one(fix);
  return `kage: ${one(message)}. ${sentence.charAt(0).toUpperCase()}${sentence.slice(1)}${sentence.endsWith('?') ? '' : '.'}`;
}

function causeOf(error: Error): string | undefined {
  return error.cause instanceof Error && error.cause.message !== error.message
    ? `Cause: ${error.cause.message}`
    : undefined;
}
