/** One member of etcd, as far as connections go: a server that stands for it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { type EtcdAnswer, EtcdEndpoint } from './etcd-endpoint.ts';

test('however many are watching, a request has its turn', { timeout: 10_000 }, async () => {
  const watching: ServerResponse[] = [];
  const all = Promise.withResolvers<void>();
  const server = createServer((request, response) => {
    request.resume();
    if (request.url !== '/v3/watch') return void response.end('{}');
    response.writeHead(200).write('{"result":{}}\n');
    watching.push(response);
    if (watching.length === 40) all.resolve();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const endpoint = new EtcdEndpoint(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const ended: string[] = [];
  const stops = Array.from({ length: 40 }, () =>
    endpoint.stream(
      '/v3/watch',
      {},
      () => {},
      (reason) => ended.push(reason),
    ),
  );
  // With one connection for all of them this would not come.
  await all.promise;
  const answer = await new Promise<EtcdAnswer>((resolve) => endpoint.post('/v3/kv/txn', {}, 2000, resolve));
  assert.deepEqual(answer, { kind: 'answer', body: {} });
  for (const stop of stops) stop();
  assert.deepEqual(ended, []);
  endpoint.close();
  server.closeAllConnections();
  server.close();
});
