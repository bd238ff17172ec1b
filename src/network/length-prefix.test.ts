/** Frames on a stream, however its chunks are cut; and the notation of uplinks. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { OperatorError } from '../base/errors.ts';
import { FrameDecoder, prefixed } from './length-prefix.ts';
import { type NetdevOptions, parseNetdevOptions, parseUserNetdev } from './netdev.ts';
import { Simulation } from './simulation.testing.ts';

test('frames come out as they went in, wherever the stream is cut', () => {
  const simulation = new Simulation(5);
  for (let round = 0; round < 50; round += 1) {
    const frames = Array.from({ length: 40 }, () =>
      simulation.bytes(simulation.between(0, round % 5 === 0 ? 9000 : 90)),
    );
    const stream = new Uint8Array(Buffer.concat(frames.map(prefixed)));
    const got: Uint8Array[] = [];
    const decoder = new FrameDecoder((frame) => got.push(frame.slice()));
    for (let at = 0; at < stream.length; ) {
      const next = at + simulation.between(1, round % 3 === 0 ? 7 : 4000);
      assert.ok(decoder.push(stream.slice(at, next)));
      at = next;
    }
    assert.deepEqual(got, frames);
  }
});

test('a length beyond QEMU’s bound ends the conversation, whole or in pieces', () => {
  const bytes = Uint8Array.of(0, 1, 0x10, 1, 0, 0);
  assert.equal(new FrameDecoder(() => {}).push(bytes), false);
  const decoder = new FrameDecoder(() => {});
  assert.equal(decoder.push(bytes.subarray(0, 3)), true);
  assert.equal(decoder.push(bytes.subarray(3)), false);
  assert.equal(new FrameDecoder(() => {}).push(Uint8Array.of(0, 1, 0x10, 0)), true, '69632 bytes are still a frame');
});

describe('-netdev', () => {
  const good: readonly [string, NetdevOptions][] = [
    [
      'stream,id=n0,server=off,addr.type=unix,addr.path=/run/x.sock,reconnect-ms=500',
      { kind: 'stream', id: 'n0', server: false, path: '/run/x.sock', reconnectMs: 500 },
    ],
    [
      'stream,id=n0,server=on,addr.type=inet,addr.host=127.0.0.1,addr.port=1234',
      { kind: 'stream', id: 'n0', server: true, host: '127.0.0.1', port: 1234 },
    ],
    ['socket,listen=:1234', { kind: 'stream', server: true, port: 1234 }],
    ['socket,id=a,connect=127.0.0.1:1', { kind: 'stream', id: 'a', server: false, host: '127.0.0.1', port: 1 }],
    [
      'macvtap,ifname=mt0,network=lan,target=10.0.0.1,target=10.0.0.2,mtu=9000',
      { kind: 'macvtap', ifname: 'mt0', network: 'lan', targets: ['10.0.0.1', '10.0.0.2'], mtuBytes: 9000 },
    ],
    ['macvtap,ifname=mt0,probe=none,speed=1000', { kind: 'macvtap', ifname: 'mt0', probing: 'none', speedMbps: 1000 }],
    ['internal,network=lan', { kind: 'internal', network: 'lan' }],
    ['shared,id=mt0', { kind: 'shared', id: 'mt0' }],
  ];
  for (const [text, options] of good)
    test(text, () => {
      assert.deepEqual(parseNetdevOptions(text), options);
    });

  const wrong: readonly [string, RegExp][] = [
    ['tap,ifname=tap0', /tap is not supported/],
    ['macvtap', /names no device/],
    ['macvtap,ifname=a/b', /no name of a device/],
    ['macvtap,ifname=a,vhost=on', /does not know vhost/],
    ['stream,id=x', /no address/],
    ['stream,addr.type=fd,addr.str=3', /addr.type=fd/],
    ['stream,addr.path=a,addr.port=1', /two/],
    ['socket,connect=nowhere', /no address/],
    ['macvtap,ifname=a,target=10.0.0', /no IPv4 address/],
    ['macvtap,ifname=a,probe=arp', /no host to ask/],
    ['macvtap,ifname=a,mtu=9', /not a number/],
    ['macvtap,ifname=a,id=a b', /no name/],
    ['shared', /no uplink/],
    ['toString', /not supported/],
  ];
  for (const [text, message] of wrong)
    test(`${text} is refused`, () => {
      assert.throws(
        () => parseNetdevOptions(text),
        (error: unknown) => error instanceof OperatorError && message.test(error.message),
      );
    });

  test('of user, what paths are concerned with', () => {
    assert.deepEqual(parseUserNetdev(['id=a', 'hostfwd=tcp::1-:2', 'network=lan', 'mtu=9000', 'restrict=on']), {
      netdev: { kind: 'user', id: 'a', network: 'lan', mtuBytes: 9000, user: 'restrict=on' },
      hostfwd: ['tcp::1-:2'],
    });
    assert.throws(() => parseUserNetdev(['sideways=1']), /sideways/);
  });
});
