import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findDebianMirror, paragraphs, parseDeb822, parseOneLine } from './sources.ts';

const mirror = 'http://mirror.example/debian';

test('one-line sources: options, comments, source packages, several components', () => {
  const text = [
    '# deb http://old.example/debian trixie main',
    `deb-src ${mirror} trixie main`,
    `deb ${mirror} trixie main contrib # comment`,
    `  deb [ arch=amd64 signed-by=/usr/share/keyrings/k.gpg trusted=yes ] ${mirror} trixie-updates main`,
    '',
  ].join('\n');
  assert.deepEqual(parseOneLine(text), [
    { uri: mirror, suites: ['trixie'], components: ['main', 'contrib'] },
    { uri: mirror, suites: ['trixie-updates'], components: ['main'], signedBy: '/usr/share/keyrings/k.gpg' },
  ]);
});

test('deb822 sources: comments inside, several addresses, key blocks, disabled paragraphs', () => {
  const text = [
    'Types: deb deb-src',
    '# a comment in a paragraph',
    `URIs: ${mirror}`,
    ' http://second.example/debian',
    'Suites: bookworm bookworm-updates',
    'Components: main',
    'Signed-By:',
    ' -----BEGIN PGP PUBLIC KEY BLOCK-----',
    ' .',
    ' abc',
    '',
    `Types: deb\nURIs: ${mirror}\nSuites: sid\nComponents: main\nEnabled: no`,
    '',
    `Types: deb-src\nURIs: ${mirror}\nSuites: sid\nComponents: main`,
  ].join('\n');
  const sources = parseDeb822(text);
  assert.deepEqual(
    sources.map(({ uri }) => uri),
    [mirror, 'http://second.example/debian'],
  );
  assert.deepEqual(sources[0]?.suites, ['bookworm', 'bookworm-updates']);
  assert.equal(sources[0]?.signedBy, '\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc');
});

test('paragraphs keep continuation lines and lower the case of names', () => {
  const [first, second] = paragraphs('Package: a\nDescription: short\n long\n .\n more\n\n\nPackage: b\n');
  assert.equal(first?.get('description'), 'short\n long\n .\n more');
  assert.equal(second?.get('package'), 'b');
});

test("the machine's Debian mirror and security archive are found among other sources", () => {
  const etc = mkdtempSync(join(tmpdir(), 'kagemusha-apt-'));
  try {
    assert.equal(findDebianMirror(etc), undefined);
    mkdirSync(join(etc, 'sources.list.d'));
    writeFileSync(
      join(etc, 'sources.list'),
      'deb http://other.example/ubuntu noble main\ndeb http://tool.example stable tool\n',
    );
    assert.equal(findDebianMirror(etc), undefined);
    const debian = `Types: deb\nURIs: ${mirror}\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n`;
    const security = 'Types: deb\nURIs: http://security.example/debian\nSuites: bookworm-security\nComponents: main\n';
    writeFileSync(join(etc, 'sources.list.d/debian.sources'), `${debian}\n${security}`);
    writeFileSync(join(etc, 'sources.list.d/ignored.sources.off'), debian.replace(mirror, 'http://off.example'));
    const found = findDebianMirror(etc);
    assert.deepEqual(
      [found?.main.uri, found?.main.signedBy, found?.security?.uri],
      [mirror, '/k.gpg', 'http://security.example/debian'],
    );
  } finally {
    rmSync(etc, { recursive: true });
  }
});
