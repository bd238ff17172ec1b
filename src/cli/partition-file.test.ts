import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { OperatorError } from '../base/errors.ts';
import { readPartitionFiles } from './partition-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-yaml-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, 'partitions.yaml');

function read(text: string) {
  writeFileSync(file, text);
  return readPartitionFiles(file);
}

describe('a file of partitions', () => {
  test('says what the flags of run say, and what compose does', () => {
    const all = read(`
# Two guests.
partitions:
  web:
    image: debian
    cpus: 2
    memory: 1G
    ports: ["8080:80", 127.0.0.1:2222:22]
    restart: on-failure:3
    drives:
      - data.img
      - {file: "with,comma.img", readonly: on}
    promotion: always
    path-failover: off
    netdevs:
      - {kind: stream, addr.type: unix, addr.path: switch.sock, id: lan0}
      - user
    pci: yes
    agent: off
    volumes: [./site:/srv:ro]
    health-cmd: wget -q localhost
    health-retries: 2
  bare:
    kernel: ./Image
    append: "console=ttyS0 a=1"
    mem_limit: 64M
    restart: no
    cap: 0.5
    pin: 0-1
`);
    assert.deepEqual(all, [
      {
        name: 'web',
        spec: {
          cpus: 2,
          memoryBytes: 1 << 30,
          drives: [{ file: join(folder, 'data.img') }, { file: join(folder, 'with,comma.img'), readOnly: true }],
          netdevs: [{ kind: 'stream', path: join(folder, 'switch.sock'), id: 'lan0' }, { kind: 'user' }],
          pathFailover: false,
          publish: ['8080:80', '127.0.0.1:2222:22'],
          promotion: 'always',
          pci: true,
          agent: 'off',
          shares: [{ host: join(folder, 'site'), guest: '/srv', readOnly: true }],
          health: { command: 'wget -q localhost', retries: 2 },
          image: 'debian',
        },
        restartPolicy: { name: 'on-failure', most: 3 },
      },
      {
        name: 'bare',
        spec: {
          cap: 0.5,
          pin: [0, 1],
          memoryBytes: 64 << 20,
          kernel: join(folder, 'Image'),
          append: 'console=ttyS0 a=1',
        },
        restartPolicy: { name: 'no' },
      },
    ]);
  });

  test('may be empty, or a folder of them', () => {
    assert.deepEqual(read(''), []);
    assert.deepEqual(read('partitions: {}\n'), []);
    const several = join(folder, 'several');
    mkdirSync(several);
    writeFileSync(join(several, 'b.yml'), 'partitions: {b: {image: debian}}');
    writeFileSync(join(several, 'a.yaml'), 'partitions: {a: {image: debian}}');
    writeFileSync(join(several, 'notes.txt'), 'partitions: no');
    assert.deepEqual(
      readPartitionFiles(several).map(({ name }) => name),
      ['a', 'b'],
    );
    writeFileSync(join(several, 'c.yaml'), 'partitions: {a: {image: debian}}');
    assert.throws(() => readPartitionFiles(several), /a is declared twice/);
  });
});

describe('what is wrong is told with its line', () => {
  for (const [what, text, line, says] of [
    ['no YAML', 'partitions:\n  web: [\n', 3, /flow/i],
    ['a key twice', 'partitions:\n  web: {image: a}\n  web: {image: b}\n', 3, /unique/],
    ['no map', '- web\n', 1, /the file is no map/],
    ['another top level', 'services:\n  web: {}\n', 1, /there is no services/],
    ['a name that none can have', 'partitions:\n  "a b": {image: x}\n', 2, /cannot be the name/],
    [
      'an unknown key',
      'partitions:\n  web:\n    image: debian\n    memry: 1G\n',
      4,
      /partitions have no memry. Is it memory\?/,
    ],
    [
      'a size that is none',
      'partitions:\n  web:\n    image: debian\n    memory: much\n',
      4,
      /--memory much is not a size/,
    ],
    ['a policy that is none', 'partitions:\n  web:\n    restart: sometimes\n', 3, /--restart sometimes/],
    ['a switch that is none', 'partitions:\n  web:\n    pci: 7\n', 3, /pci is neither on nor off/],
    ['a list that is none', 'partitions:\n  web:\n    ports: {a: 1}\n', 3, /ports is no list/],
    ['a text that is none', 'partitions:\n  web:\n    image: [debian]\n', 3, /image is no text/],
    ['nothing to start', 'partitions:\n  web:\n    cpus: 2\n', 2, /names nothing that could be started/],
    [
      'keys that do not go together',
      'partitions:\n  web:\n    image: a\n    network: none\n    ports: ["1:1"]\n',
      2,
      /without a network/,
    ],
    ['an item of a list', 'partitions:\n  web:\n    drives:\n      - a\n      - file=b,if=ide\n', 3, /-drive if=ide/],
  ] as const) {
    test(what, () => {
      const error = (() => {
        try {
          read(text);
        } catch (thrown) {
          return thrown;
        }
        return undefined;
      })();
      assert.ok(error instanceof OperatorError, String(error));
      assert.equal(error.code, 'bad-config');
      assert.ok(error.message.startsWith(`${file}:${line}: `), error.message);
      assert.match(`${error.message}. ${error.fix}`, says);
    });
  }

  test('no file', () => assert.throws(() => readPartitionFiles(join(folder, 'none')), /cannot be read/));
});
