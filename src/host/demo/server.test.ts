import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { get, type IncomingHttpHeaders } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { OperatorError } from '../../base/errors.ts';
import type { GuestImage } from '../images/index.ts';
import { startDemo } from './server.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-demo-'));
after(() => rmSync(folder, { recursive: true, force: true }));
writeFileSync(join(folder, 'kernel'), 'a kernel');
writeFileSync(join(folder, 'initrd'), 'an initrd');

const image: GuestImage = {
  name: 'debian',
  kernel: join(folder, 'kernel'),
  initrd: join(folder, 'initrd'),
  commandLine: 'console=ttyS0',
  manifest: {
    format: 1,
    name: 'debian',
    suite: 'trixie',
    release: '13.7',
    architecture: 'riscv64',
    packages: [],
    kernel: { file: 'kernel', version: '6.12', sha256: '' },
    initrd: { file: 'initrd', sha256: '' },
    recipe: '',
    modules: [],
    commandLine: 'console=ttyS0',
  },
};

interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** The path goes out as it is, dots and all. */
function ask(address: string, path: string, options: { method?: string; host?: string } = {}): Promise<Answer> {
  const { hostname, port } = new URL(address);
  const { method = 'GET', host = `${hostname}:${port}` } = options;
  return new Promise((resolve, reject) => {
    get({ hostname, port, path, method, headers: { host }, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body }));
    }).on('error', reject);
  });
}

describe('the demo server', () => {
  test('leads to the page, and serves the code that it names as JavaScript', async () => {
    await using demo = await startDemo({ image, port: 0 });
    const first = await ask(demo.address, '/?cpus=2');
    assert.deepEqual([first.status, first.headers.location], [302, '/browser/demo/?cpus=2']);
    const page = await ask(demo.address, '/browser/demo/');
    assert.match(page.headers['content-type'] ?? '', /^text\/html/);
    for (const [, path = ''] of page.body.matchAll(/(?:src|href)="(\.[^"]+)"/g)) {
      const { pathname } = new URL(path, new URL('browser/demo/', demo.address));
      assert.equal((await ask(demo.address, pathname)).status, 200, pathname);
    }
    const code = await ask(demo.address, '/browser/worker/web-ports.ts');
    assert.match(code.headers['content-type'] ?? '', /^text\/javascript/);
    assert.doesNotMatch(code.body, /: HostPorts/);
    assert.match(code.body, /export const webPorts/);
    assert.equal((await ask(demo.address, '/browser/vendor/xterm.mjs')).status, 200);
  });

  test('serves the image', async () => {
    await using demo = await startDemo({ image, port: 0 });
    assert.deepEqual(JSON.parse((await ask(demo.address, '/image/image.json')).body), {
      title: 'Debian 13.7 (trixie), Linux 6.12',
      kernel: 'kernel',
      initrd: 'initrd',
      commandLine: 'console=ttyS0',
    });
    assert.equal((await ask(demo.address, '/image/kernel')).body, 'a kernel');
    assert.equal((await ask(demo.address, '/image/initrd')).body, 'an initrd');
    const head = await ask(demo.address, '/image/kernel', { method: 'HEAD' });
    assert.deepEqual([head.status, head.headers['content-length'], head.body], [200, '8', '']);
  });

  test('isolates its pages, or does not', async () => {
    const headers = async (isolation: boolean): Promise<(string | undefined)[]> => {
      await using demo = await startDemo({ image, port: 0, isolation });
      const { headers: all } = await ask(demo.address, '/browser/demo/');
      return ['cross-origin-opener-policy', 'cross-origin-embedder-policy'].map((name) => all[name]?.toString());
    };
    assert.deepEqual(await headers(true), ['same-origin', 'require-corp']);
    assert.deepEqual(await headers(false), [undefined, undefined]);
  });

  const refused: readonly [what: string, path: string, status: number, options?: { method?: string; host?: string }][] =
    [
      ['a path that climbs', '/browser/../host/index.ts', 404],
      ['an escaped path that climbs', '/browser/%2e%2e/host/index.ts', 404],
      ['a room that no page needs', '/host/index.ts', 404],
      ['the manifest', '/../package.json', 404],
      ['another file of the image', '/image/manifest.json', 404],
      ['a folder', '/browser/worker', 404],
      ['a test', '/machine/turn-loop.test.ts', 404],
      ['what is not there', '/browser/nothing.ts', 404],
      ['a write', '/browser/demo/', 405, { method: 'POST' }],
      ['a foreign name', '/browser/demo/', 421, { host: 'kage.example' }],
    ];
  for (const [what, path, status, options] of refused) {
    test(`refuses ${what}`, async () => {
      await using demo = await startDemo({ image, port: 0 });
      assert.equal((await ask(demo.address, path, options)).status, status);
    });
  }

  test('a port in use is the operator’s to put right', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    try {
      const bound = other.address();
      const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
      await assert.rejects(startDemo({ image, port }), (error) => {
        assert.ok(error instanceof OperatorError);
        return error.code === 'port-in-use' && error.message.includes(String(port));
      });
    } finally {
      other.close();
    }
  });
});
