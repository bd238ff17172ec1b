/** Requests by chance, from the document and from nowhere: the daemon answers each, with no bug, and lives. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { ownFolders, type Served, served } from '../daemon.testing.ts';
import { DocumentFuzz, type FuzzedRequest } from './document-fuzz.testing.ts';
import { openApiDocument } from './openapi.ts';

const REQUESTS = 1_200;
const GARBAGE = 200;
/** What goes on is left after so long. */
const LEAVE_MS = 30;
/** These start processes, which is not what is looked at; what they are asked is looked at all the same, by creating. */
const STARTS = new Set(['startPartition', 'restartPartition', 'declarePartition']);

const bugs: unknown[] = [];
let api: Served;
after(async () => await api[Symbol.asyncDispose]());
const folders = ownFolders();
const socketPath = join(folders.runtime, 'daemon.sock');
before(async () => {
  api = await served({ failed: (error) => bugs.push(error) });
  await api.client.createPartition({ name: 'web', spec: { kernel: '/k', room: {} }, start: true });
});

beforeEach(() => {
  bugs.length = 0;
});

/** By seed (mulberry32). */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The status; undefined: it went on until we left, or was cut off. */
async function send({ method, path, body }: FuzzedRequest): Promise<{ status: number; body: string } | undefined> {
  return await new Promise((resolve) => {
    let asked: ReturnType<typeof request>;
    try {
      asked = request({
        socketPath,
        method,
        path,
        agent: false,
        headers: body === undefined ? {} : { 'content-type': 'application/json' },
      });
    } catch {
      return resolve(undefined); // Node's own client does not send such a path
    }
    asked.setTimeout(5_000, () => asked.destroy());
    asked.on('error', () => resolve(undefined));
    asked.on('response', (answer) => {
      let text = '';
      const timer = setTimeout(() => asked.destroy(), LEAVE_MS);
      answer.setEncoding('utf8');
      answer.on('data', (piece: string) => {
        text += piece;
      });
      answer.on('error', () => resolve(undefined));
      answer.on('close', () => {
        clearTimeout(timer);
        resolve({ status: answer.statusCode ?? 0, body: text });
      });
    });
    asked.end(body);
  });
}

test(`${REQUESTS} requests of the document and of chance`, async () => {
  const seed = Number(process.env['KAGE_SEED'] ?? 20_261_128);
  const fuzz = new DocumentFuzz(openApiDocument('0'), numbers(seed));
  const statuses = new Map<number, number>();
  for (let i = 0; i < REQUESTS; i++) {
    const asked = fuzz.request();
    if (STARTS.has(asked.operation) || /"start":true/.test(asked.body ?? '')) continue;
    const answer = await send(asked);
    if (answer === undefined) continue;
    statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
    const what = `seed ${seed}, request ${i}: ${JSON.stringify(asked)} -> ${answer.status} ${answer.body.slice(0, 300)}`;
    assert.deepEqual(bugs, [], what);
    assert.notEqual(answer.status, 500, what);
    if (answer.status >= 400 && answer.body !== '')
      assert.equal((JSON.parse(answer.body) as { status: number }).status, answer.status, what);
  }
  // The fuzzer knows its way in: it is not refused at the door alone.
  assert.ok((statuses.get(200) ?? 0) > REQUESTS / 20, JSON.stringify([...statuses]));
  assert.ok((statuses.get(400) ?? 0) > REQUESTS / 20, JSON.stringify([...statuses]));
  assert.equal((await api.client.getHealth()).status, 'ok');
});

test(`${GARBAGE} pieces of garbage`, async () => {
  const next = numbers(7);
  const heads = [
    '',
    'GET / HTTP/1.1\r\n',
    'POST /v1/partitions HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n',
    '\x16\x03\x01',
  ];
  for (let i = 0; i < GARBAGE; i++) {
    const length = Math.floor(next() * 2000);
    const bytes = Buffer.from(Array.from({ length }, () => Math.floor(next() * 256)));
    const socket = connect(socketPath);
    socket.on('error', () => {});
    socket.resume();
    socket.end(Buffer.concat([Buffer.from(heads[i % heads.length] ?? '', 'latin1'), bytes]));
    await new Promise((resolve) => socket.once('close', resolve));
  }
  assert.deepEqual(bugs, []);
  assert.equal((await api.client.getHealth()).status, 'ok');
});

test('what is said on a WebSocket by chance', async () => {
  const next = numbers(11);
  const client = api.client;
  await client.createPartition({ name: 'sockets', spec: { kernel: '/k' }, start: true });
  for (let i = 0; i < 60; i++) {
    const socket = i % 2 === 0 ? await client.attachExec('sockets') : await client.attachConsole('sockets');
    for (let messages = 0; messages < 3; messages++) {
      const bytes = Buffer.from(Array.from({ length: Math.floor(next() * 50) }, () => Math.floor(next() * 256)));
      // Not the word that ends a fake guest.
      socket.send(
        next() < 0.5
          ? bytes
          : JSON.stringify({ argv: [next()], environment: { [String(next())]: bytes.toString('hex') } }),
      );
    }
    socket.close();
  }
  assert.deepEqual(bugs, []);
  assert.equal((await client.getPartition('sockets')).state, 'running');
});
