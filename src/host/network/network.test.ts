import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { afterEach, test } from 'node:test';
import { OperatorError } from '../../base/errors.ts';
import { decodeQuestion, dnsResponseCode, encodeQuery, encodeResponse } from '../../network/dns.testing.ts';
import { DNS_ADDRESS, GATEWAY_ADDRESS, GUEST_ADDRESS, GuestStack } from '../../network/guest-stack.testing.ts';
import type { NetworkOptions } from '../../network/index.ts';
import { parsePublish } from '../../network/index.ts';
import { pattern } from '../../network/test-bed.testing.ts';
import { type NodeDnsOptions, type RunningNetwork, startUserNetwork } from './index.ts';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

interface Bed extends RunningNetwork {
  readonly guest: GuestStack;
}

/** A real network and a fake guest; frames take a turn of the event loop in either direction. */
async function start(config: NetworkOptions = {}, dns: NodeDnsOptions = { nameservers: [] }): Promise<Bed> {
  const later = (deliver: (frame: Uint8Array) => void) => {
    const queue: Uint8Array[] = [];
    return (frame: Uint8Array): void => {
      queue.push(frame.slice());
      if (queue.length > 1) return;
      setImmediate(() => {
        for (const next of queue.splice(0)) deliver(next);
      });
    };
  };
  const toGuest = later((frame) => guest.receive(frame));
  const running = await startUserNetwork(config, (frame) => toGuest(frame), dns);
  const world = {
    random: () => Math.floor(Math.random() * 2 ** 32),
    after: (delayMs: number, fire: () => void) => {
      const timer = setTimeout(fire, delayMs);
      return { cancel: () => clearTimeout(timer) };
    },
  };
  const guest: GuestStack = new GuestStack(
    world,
    later((frame) => running.network.receive(frame)),
  );
  closing.push(() => running.close());
  return { ...running, guest };
}

async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 1));
}

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(() => new Promise((resolve) => server.close(resolve)));
  return (server.address() as AddressInfo).port;
}

const limit = { timeout: 60_000 };

test('a guest downloads 20 MB from a server on the host', limit, async () => {
  const content = pattern(20 << 20, 7);
  const port = await listen(createServer((socket) => socket.end(content)));
  const { guest, network } = await start();
  const tcp = guest.connect(GATEWAY_ADDRESS, port);
  await until(() => tcp.remoteEnded);
  assert.equal(Buffer.compare(tcp.contents(), content), 0);
  tcp.end();
  await until(() => tcp.closed);
  assert.equal(network.stats().tcp.bytesToGuest, content.length);
});

test('a guest uploads 20 MB to a server that reads slowly, and then reads its answer: half close', limit, async () => {
  const content = pattern(20 << 20, 8);
  const chunks: Uint8Array[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let pauses = 0;
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      if (chunks.length % 64 !== 0) return;
      pauses += 1;
      socket.pause();
      setTimeout(() => socket.resume(), 1);
    });
    socket.on('end', () => socket.end(`paused ${pauses > 0}`));
  });
  const port = await listen(server);
  const { guest, network } = await start();
  const tcp = guest.connect(GATEWAY_ADDRESS, port);
  tcp.send(content);
  tcp.end();
  await until(() => tcp.remoteEnded);
  assert.equal(Buffer.compare(Buffer.concat(chunks), content), 0);
  assert.equal(Buffer.from(tcp.contents()).toString(), 'paused true');
  await until(() => tcp.closed);
  assert.equal(network.stats().tcp.bytesToHost, content.length);
});

test('a refused port is refused to the guest', limit, async () => {
  const server = createServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  const { guest, network } = await start();
  const tcp = guest.connect(GATEWAY_ADDRESS, port);
  await until(() => tcp.state === 'reset');
  assert.equal(network.stats().tcp.refused, 1);
});

test('a server that resets resets the guest; a guest that resets resets the server', limit, async () => {
  const errors: string[] = [];
  let accepted = 0;
  const server = createServer((socket) => {
    accepted += 1;
    socket.on('error', (error) => errors.push('code' in error ? String(error.code) : error.message));
    socket.on('data', () => socket.resetAndDestroy());
  });
  const port = await listen(server);
  const { guest } = await start();
  const first = guest.connect(GATEWAY_ADDRESS, port);
  first.send(pattern(10));
  await until(() => first.state === 'reset');
  const second = guest.connect(GATEWAY_ADDRESS, port);
  await until(() => second.state === 'open' && accepted === 2);
  second.reset();
  await until(() => errors.length === 1);
  assert.deepEqual(errors, ['ECONNRESET']);
});

test('a published port leads to the guest, both ways and to the end', limit, async () => {
  const { guest, published } = await start({ publish: [parsePublish('127.0.0.1:0:80')] });
  const answer = pattern(3 << 20, 9);
  guest.listeners.set(80, {
    options: {},
    accept: (connection) => {
      connection.send(answer);
      connection.end();
    },
  });
  const client = connect({ host: '127.0.0.1', port: published[0]?.hostPort ?? 0, allowHalfOpen: true });
  const chunks: Uint8Array[] = [];
  client.on('data', (chunk: Uint8Array) => chunks.push(chunk));
  client.write('GET');
  await once(client, 'end');
  client.end();
  assert.equal(Buffer.compare(Buffer.concat(chunks), answer), 0);
  const connection = guest.connections[0];
  assert.ok(connection);
  await until(() => connection.closed);
  assert.equal(Buffer.from(connection.contents()).toString(), 'GET');
  assert.equal(connection.remote, GATEWAY_ADDRESS);
});

test('a published port whose guest refuses resets the client', limit, async () => {
  const { guest, published } = await start({ publish: [parsePublish('127.0.0.1:0:81')] });
  assert.equal(guest.listeners.size, 0);
  const client = connect(published[0]?.hostPort ?? 0, '127.0.0.1');
  const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ECONNRESET');
});

test('a port in use is an error for the operator, and leaves nothing open', limit, async () => {
  const port = await listen(createServer());
  const free = createServer();
  const freePort = await listen(free);
  await new Promise((resolve) => free.close(resolve));
  const rules = [parsePublish(`127.0.0.1:${freePort}:80`), parsePublish(`127.0.0.1:${port}:80`)];
  await assert.rejects(
    startUserNetwork({ publish: rules }, () => {}),
    (error) => {
      assert.ok(error instanceof OperatorError);
      assert.equal(error.code, 'port-in-use');
      assert.match(error.message, new RegExp(`127\\.0\\.0\\.1:${port}/tcp`));
      assert.match(error.fix, new RegExp(`-p ${port + 1}:`));
      return true;
    },
  );
  // The other rule's port is free again.
  const again = await startUserNetwork({ publish: [parsePublish(`127.0.0.1:${freePort}:80`)] }, () => {});
  again.close();
  const udp = createSocket('udp4').bind(0, '127.0.0.1');
  await once(udp, 'listening');
  closing.push(() => udp.close());
  const udpRule = parsePublish(`127.0.0.1:${udp.address().port}:53/udp`);
  await assert.rejects(
    startUserNetwork({ publish: [udpRule] }, () => {}),
    { code: 'port-in-use' },
  );
});

test('an address that is not the host’s is an error for the operator', limit, async () => {
  await assert.rejects(
    startUserNetwork({ publish: [parsePublish('192.0.2.1:0:80')] }, () => {}),
    {
      code: 'address-not-available',
    },
  );
});

test('UDP to a service on the host and back, and through a published port', limit, async () => {
  const service = createSocket('udp4').bind(0, '127.0.0.1');
  await once(service, 'listening');
  closing.push(() => service.close());
  service.on('message', (message, from) => service.send(`echo ${message}`, from.port, from.address));
  const { guest, published } = await start({ publish: [parsePublish('127.0.0.1:0:5353/udp')] });
  guest.sendUdp(GATEWAY_ADDRESS, service.address().port, 1234, Buffer.from('one'));
  await until(() => guest.datagrams.length === 1);
  assert.equal(Buffer.from(guest.datagrams[0]?.payload ?? []).toString(), 'echo one');
  assert.equal(guest.datagrams[0]?.source, GATEWAY_ADDRESS);

  const client = createSocket('udp4').bind(0, '127.0.0.1');
  closing.push(() => client.close());
  await once(client, 'listening');
  client.send('two', published[0]?.hostPort ?? 0, '127.0.0.1');
  await until(() => guest.datagrams.length === 2);
  const query = guest.datagrams[1];
  assert.ok(query);
  assert.deepEqual(
    { from: query.source, to: query.destination, port: query.destinationPort },
    { from: GATEWAY_ADDRESS, to: GUEST_ADDRESS, port: 5353 },
  );
  const answered = once(client, 'message') as Promise<[Buffer, { port: number }]>;
  guest.sendUdp(query.source, query.sourcePort, 5353, Buffer.from('three'));
  const [message, from] = await answered;
  assert.deepEqual([message.toString(), from.port], ['three', published[0]?.hostPort]);
});

test('DNS: the first nameserver that answers, SERVFAIL when there is none', limit, async () => {
  const dead = createSocket('udp4').bind(0, '127.0.0.1');
  const alive = createSocket('udp4').bind(0, '127.0.0.1');
  await Promise.all([once(dead, 'listening'), once(alive, 'listening')]);
  closing.push(
    () => dead.close(),
    () => alive.close(),
  );
  alive.on('message', (query, from) => {
    const question = decodeQuestion(query);
    alive.send(encodeResponse(query, question, 0, [0x01020304], 60), from.port, from.address);
  });
  const nameservers = [dead, alive].map((socket) => ({ address: '127.0.0.1', port: socket.address().port }));
  const { guest } = await start({}, { nameservers, attemptMs: 20 });
  guest.sendUdp(DNS_ADDRESS, 53, 999, encodeQuery(77, 'debian.org', 1));
  await until(() => guest.datagrams.length === 1);
  const answer = guest.datagrams[0]?.payload ?? new Uint8Array(0);
  assert.equal(dnsResponseCode(answer), 0);
  assert.deepEqual([...answer.slice(-4)], [1, 2, 3, 4]);

  const { guest: lonely } = await start({}, { nameservers: [] });
  lonely.sendUdp(DNS_ADDRESS, 53, 999, encodeQuery(78, 'debian.org', 1));
  await until(() => lonely.datagrams.length === 1);
  assert.equal(dnsResponseCode(lonely.datagrams[0]?.payload ?? new Uint8Array(4)), 2);
});
