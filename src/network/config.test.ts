import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperatorError } from '../base/errors.ts';
import { formatIpv4, formatMac } from './addresses.ts';
import { networkConfig, parseNetdevUser } from './config.ts';
import { formatPublish, parseHostForward, parsePublish } from './publish.ts';

test('the defaults are those of QEMU', () => {
  const config = networkConfig();
  assert.deepEqual([config.prefix.address, config.gateway, config.dns, config.guest].map(formatIpv4), [
    '10.0.2.0',
    '10.0.2.2',
    '10.0.2.3',
    '10.0.2.15',
  ]);
  assert.equal(formatMac(config.gatewayMac), '52:55:0a:00:02:02');
  assert.deepEqual([config.mtu, config.dhcp, config.restrict, config.hostLoopback], [1500, true, false, true]);
});

test('another network moves every address with it', () => {
  const config = networkConfig({ network: '192.168.76.0/24', hostname: 'web-1', domain: 'lan.example', mtu: 9000 });
  assert.deepEqual([config.gateway, config.dns, config.guest].map(formatIpv4), [
    '192.168.76.2',
    '192.168.76.3',
    '192.168.76.15',
  ]);
  const small = networkConfig({ network: '10.9.9.8/29' });
  assert.deepEqual([small.gateway, small.dns, small.guest].map(formatIpv4), ['10.9.9.10', '10.9.9.11', '10.9.9.12']);
});

test('what cannot be set up is an operator’s error that says why', () => {
  const cases: [Parameters<typeof networkConfig>[0], RegExp][] = [
    [{ network: 'x' }, /"x" is not an IPv4 network/],
    [{ network: '10.0.0.0/30' }, /8 to 29 bits/],
    [{ gateway: '10.0.3.2' }, /gateway "10.0.3.2" is not a host/],
    [{ gateway: '10.0.2.0' }, /not a host/],
    [{ dns: '10.0.2.255' }, /not a host/],
    [{ guest: '10.0.2.2' }, /must differ/],
    [{ gatewayMac: '1:2' }, /not a MAC/],
    [{ mtu: 100 }, /MTU 100/],
    [{ mtu: Number.NaN }, /MTU NaN/],
    [{ leaseSeconds: 1 }, /lease time/],
    [{ hostname: 'a b' }, /not a host name/],
    [{ hostname: 'x'.repeat(65) }, /not a host name/],
    [{ limits: { udpFlows: 0 } }, /limit udpFlows/],
  ];
  for (const [options, message] of cases)
    assert.throws(
      () => networkConfig(options),
      (error) =>
        error instanceof OperatorError &&
        error.code === 'bad-network' &&
        message.test(error.message) &&
        error.fix !== '',
      JSON.stringify(options),
    );
});

test('published ports, as container users write them', () => {
  const cases: [string, string][] = [
    ['8080:80', '0.0.0.0:8080:80/tcp'],
    ['8080:80/tcp', '0.0.0.0:8080:80/tcp'],
    ['127.0.0.1:5353:53/udp', '127.0.0.1:5353:53/udp'],
    ['0:22', '0.0.0.0:0:22/tcp'],
    ['127.0.0.1:0:22', '127.0.0.1:0:22/tcp'],
    ['65535:65535', '0.0.0.0:65535:65535/tcp'],
  ];
  for (const [text, formatted] of cases) {
    assert.equal(formatPublish(parsePublish(text)), formatted);
    assert.deepEqual(parsePublish(formatted), parsePublish(text));
  }
});

test('forwarded ports, as QEMU users write them', () => {
  assert.equal(formatPublish(parseHostForward('tcp:127.0.0.1:8080-:80')), '127.0.0.1:8080:80/tcp');
  assert.equal(formatPublish(parseHostForward('tcp::5555-:22')), '0.0.0.0:5555:22/tcp');
  assert.equal(formatPublish(parseHostForward('::5555-:22')), '0.0.0.0:5555:22/tcp');
  assert.equal(formatPublish(parseHostForward('udp::53-10.0.2.16:53')), '0.0.0.0:53:53/udp');
  assert.equal(parseHostForward('udp::53-10.0.2.16:53').guestAddress, 0x0a000210);
  assert.equal(parseHostForward('udp::53-:53').guestAddress, undefined);
});

test('ports that cannot be read are an operator’s error', () => {
  const isBad = (error: unknown): boolean =>
    error instanceof OperatorError && error.code === 'bad-publish' && error.fix !== '';
  for (const text of [
    '',
    '80',
    ':80',
    '80:',
    'a:b',
    '8080:0',
    '70000:80',
    '8080:70000',
    '1:2:3:4',
    '300.1.1.1:1:2',
    '8080:80/sctp',
    '8080:80/tcp/x',
    '-1:80',
    '224.0.0.1:1:2',
    '08080x:80',
  ])
    assert.throws(() => parsePublish(text), isBad, text);
  for (const text of [
    '',
    'tcp:8080:80',
    'sctp::1-:2',
    'tcp::1-2',
    'tcp:::1-:2',
    'tcp::x-:2',
    'tcp::1-:0',
    'tcp::1-x:2',
  ])
    assert.throws(() => parseHostForward(text), isBad, text);
});

test('the options of QEMU’s -netdev user', () => {
  const options = parseNetdevUser(
    'id=net0,net=10.1.0.0/16,dhcpstart=10.1.0.50,hostname=vm,mtu=2000,restrict=on,hostfwd=tcp::2222-:22,hostfwd=udp::53-:53',
  );
  const config = networkConfig(options);
  assert.deepEqual([config.guest, config.gateway].map(formatIpv4), ['10.1.0.50', '10.1.0.2']);
  assert.deepEqual([config.hostname, config.mtu, config.restrict], ['vm', 2000, true]);
  assert.deepEqual(config.publish.map(formatPublish), ['0.0.0.0:2222:22/tcp', '0.0.0.0:53:53/udp']);
  assert.deepEqual(parseNetdevUser(''), {});
  assert.throws(() => parseNetdevUser('smb=/tmp'), /"smb" is unknown/);
  assert.throws(() => parseNetdevUser('restrict=maybe'), /"maybe"/);
  assert.throws(() => networkConfig(parseNetdevUser('mtu=x')), /MTU NaN/);
});
