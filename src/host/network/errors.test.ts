import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HostError, OperatorError } from '../../base/errors.ts';
import { bindError, socketFailure } from './errors.ts';

const error = (code: string): Error => Object.assign(new Error(code), { code });

test('what a guest is told of a failed connection', () => {
  const cases = {
    ECONNREFUSED: 'refused',
    EHOSTUNREACH: 'unreachable',
    ENETUNREACH: 'unreachable',
    EPERM: 'unreachable',
    ETIMEDOUT: 'timed-out',
    ECONNRESET: 'reset',
    EPIPE: 'reset',
    EMFILE: 'failed',
  };
  for (const [code, failure] of Object.entries(cases)) assert.equal(socketFailure(error(code)), failure, code);
  assert.equal(socketFailure('odd'), 'failed');
});

test('what an operator is told of a port that cannot be bound', () => {
  const cases = {
    EADDRINUSE: 'port-in-use',
    EACCES: 'port-not-permitted',
    EADDRNOTAVAIL: 'address-not-available',
  };
  for (const [code, expected] of Object.entries(cases)) {
    const told = bindError(error(code), 'tcp', '127.0.0.1', 80);
    assert.ok(told instanceof OperatorError);
    assert.equal(told.code, expected);
    assert.match(told.message, /127\.0\.0\.1/);
    assert.ok(told.fix.length > 10);
  }
  const highest = bindError(error('EADDRINUSE'), 'udp', '0.0.0.0', 65535);
  assert.ok(highest instanceof OperatorError);
  assert.match(highest.fix, /65534/);
  const odd = bindError(error('EIO'), 'tcp', '127.0.0.1', 80);
  assert.ok(odd instanceof HostError);
  assert.equal((odd.cause as Error).message, 'EIO');
});
