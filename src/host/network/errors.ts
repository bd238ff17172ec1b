/** The host's socket errors in our words: for guests as a kind of failure, for operators as an OperatorError. */
import { HostError, OperatorError } from '../../base/errors.ts';
import type { SocketFailure } from '../../network/index.ts';

/** The `code` of a Node error, empty when it has none. */
export function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** What a guest may be told of a failed connection. */
export function socketFailure(error: unknown): SocketFailure {
  switch (errorCode(error)) {
    case 'ECONNREFUSED':
      return 'refused';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'EHOSTDOWN':
    case 'ENETDOWN':
    case 'EADDRNOTAVAIL':
    case 'EACCES':
    case 'EPERM':
      return 'unreachable';
    case 'ETIMEDOUT':
      return 'timed-out';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'reset';
    default:
      return 'failed';
  }
}

/** Why a port of the host could not be bound, for whoever published it. */
export function bindError(error: unknown, protocol: 'tcp' | 'udp', address: string, port: number): Error {
  const what = `${address}:${port}/${protocol}`;
  const options = { cause: error };
  switch (errorCode(error)) {
    case 'EADDRINUSE':
      return new OperatorError(
        'port-in-use',
        `The host port ${what} is in use by another program.`,
        `Publish another one, for example -p ${port < 65535 ? port + 1 : port - 1}:GUESTPORT, or 0 for any free port; "ss -ltnup" shows who holds it.`,
        options,
      );
    case 'EACCES':
    case 'EPERM':
      return new OperatorError(
        'port-not-permitted',
        `The host port ${what} may not be bound by this user.`,
        'Publish a port of 1024 or above.',
        options,
      );
    case 'EADDRNOTAVAIL':
      return new OperatorError(
        'address-not-available',
        `${address} is not an address of this host.`,
        'Publish on one of its own addresses, or on none for all of them.',
        options,
      );
    default:
      return new HostError('cannot-listen', `The host port ${what} cannot be bound: ${String(error)}.`, options);
  }
}
