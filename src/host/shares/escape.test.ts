/** A guest does not get out of its folder: by no name, no link, no race, and no file that is more than a file. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { Client, O, REMOVEDIR, refused, ServerError, text, u16, u32 } from './client.testing.ts';
import { FIDS_MAX } from './fids.ts';
import { openShares } from './open-shares.ts';
import { Fixture, SECRET } from './shares.testing.ts';

/** Of each attempt, for each way. */
const ROUNDS = 80;
const WAYS = ['while-fast', 'never', 'always'] as const;

test('.. goes up to the share and no further, from wherever', async (t) => {
  const fixture = new Fixture(t);
  mkdirSync(fixture.path('a', 'b'), { recursive: true });
  const client = await fixture.client();
  const root = (await client.stat(0)).qid.path;
  for (const ups of [1, 5, 16]) {
    const fid = await client.walk(0, ...Array.from({ length: ups }, () => '..'));
    assert.equal((await client.stat(fid)).qid.path, root);
    await refused('ENOENT', client.walk(fid, 'outside'));
  }
  const b = await client.walk(0, 'a', 'b', '..', 'b');
  assert.equal((await client.stat(await client.walk(b, '..', '..', '..', '..'))).qid.path, root);
});

test('a folder that the host moves out of the share leads back into it, not to where it lies now', async (t) => {
  const fixture = new Fixture(t);
  mkdirSync(fixture.path('a'));
  const client = await fixture.client();
  const a = await client.walk(0, 'a');
  renameSync(fixture.path('a'), join(fixture.outside, 'a'));
  const up = await client.walk(a, '..');
  assert.equal((await client.stat(up)).qid.path, (await client.stat(0)).qid.path);
  await refused('ENOENT', client.walk(a, '..', 'secret'));
});

test('names are single components: whatever has a slash, is none, or is . or .. is refused everywhere', async (t) => {
  const fixture = new Fixture(t);
  const client = await fixture.client();
  const file = await client.create(0, 'file');
  const bad = ['', '.', '..', '/', 'a/b', '../outside/secret', join(fixture.outside, 'secret'), 'nul\0', '..\0'];
  for (const name of bad) {
    if (name !== '..') await refused('EINVAL', client.walk(0, name));
    await refused('EINVAL', client.create(0, name));
    await refused('EINVAL', client.mkdir(0, name));
    await refused('EINVAL', client.symlink(0, name, 'x'));
    await refused('EINVAL', client.link(0, name, file));
    await refused('EINVAL', client.unlink(0, name));
    await refused('EINVAL', client.unlink(0, name, REMOVEDIR));
    await refused('EINVAL', client.rename(0, name, 0, 'x'));
    await refused('EINVAL', client.rename(0, 'file', 0, name));
    await refused('EINVAL', client.call('rename', [u32(file), u32(0), text(name)]));
  }
  assert.deepEqual(readdirSync(fixture.folder), ['file']);
  assert.ok(fixture.isOutsideUntouched);
});

test('links that lead out are links: nothing is done through them', async (t) => {
  const fixture = new Fixture(t);
  const secret = join(fixture.outside, 'secret');
  symlinkSync(secret, fixture.path('file'));
  symlinkSync(fixture.outside, fixture.path('folder'));
  const before = statSync(secret, { bigint: true });
  const client = await fixture.client();
  const [file, folder] = [await client.walk(0, 'file'), await client.walk(0, 'folder')];
  await refused('ENOTDIR', client.walk(folder, 'secret'));
  await refused('ENOTDIR', client.walk(folder, '..'));
  for (const flags of [O.RDONLY, O.WRONLY, O.RDWR | O.TRUNC]) await refused('ELOOP', client.open(file, flags));
  await refused('ELOOP', client.open(folder));
  await refused('ELOOP', client.create(0, 'file', O.RDWR));
  await refused('ENOTDIR', client.create(folder, 'new'));
  await refused('ENOTDIR', client.unlink(folder, 'secret'));
  await refused('ENOTDIR', client.rename(folder, 'secret', 0, 'stolen'));
  await refused('ENOTDIR', client.rename(0, 'file', folder, 'planted'));
  await refused('EINVAL', client.setattr(file, 8, { size: 0 }));
  await refused('EOPNOTSUPP', client.setattr(file, 1, { mode: 0o777 }));
  await client.setattr(file, 0x20 | 0x100, { mtime: [1, 0] });
  assert.equal(lstatSync(fixture.path('file')).mtimeMs, 1000);
  await client.link(0, 'another', file);
  assert.ok(lstatSync(fixture.path('another')).isSymbolicLink());
  await client.unlink(0, 'another');
  await client.unlink(0, 'folder');
  const after = statSync(secret, { bigint: true });
  assert.deepEqual([after.ctimeNs, after.mtimeNs, after.nlink], [before.ctimeNs, before.mtimeNs, 1n]);
  assert.ok(fixture.isOutsideUntouched);
});

test('what is no file, folder or link is seen, and never opened: nothing hangs', { timeout: 20_000 }, async (t) => {
  const fixture = new Fixture(t);
  execFileSync('mkfifo', [fixture.path('pipe')]);
  const server = createServer().listen(fixture.path('socket'));
  await once(server, 'listening');
  t.after(() => server.close());
  const client = await fixture.client();
  for (const name of ['pipe', 'socket']) {
    const fid = await client.walk(0, name);
    for (const flags of [O.RDONLY, O.WRONLY, O.RDWR]) await refused('EPERM', client.open(fid, flags));
    await refused('EPERM', client.create(0, name, O.RDWR));
    await refused('EINVAL', client.setattr(fid, 8, { size: 0 }));
    await refused('EPERM', client.link(0, 'linked', fid));
    await client.setattr(fid, 1, { mode: 0o600 });
    await client.rename(0, name, 0, `${name}-2`);
    await client.unlink(0, `${name}-2`);
  }
  const folder = await client.walk(0);
  await client.open(folder);
  assert.equal((await client.list(folder)).length, 2);
});

test("the kernel's own file systems are neither shared nor entered", async (t) => {
  assert.throws(() => openShares([{ host: '/proc', guest: '/p' }], { quick: true }), { code: 'share-not-allowed' });
  const [share] = openShares([{ host: '/', guest: '/host', readOnly: true }], { quick: true });
  assert.ok(share);
  t.after(() => share.close());
  const client = await Client.attach(share.session);
  await refused(
    'EACCES',
    client.walk(0, 'proc', 'self').then(() => client.walk(0, 'proc')),
  );
});

test('two shares know nothing of each other', async (t) => {
  const fixture = new Fixture(t);
  mkdirSync(fixture.path('a'));
  mkdirSync(fixture.path('b'));
  const shares = openShares(
    ['a', 'b'].map((name) => ({ host: fixture.path(name), guest: `/${name}` })),
    { quick: true },
  );
  t.after(() => {
    for (const share of shares) share.close();
  });
  const [a, b] = await Promise.all(shares.map(async (share) => await Client.attach(share.session)));
  const fid = await (a as Client).create(0, 'file');
  await refused('EBADF', (b as Client).link(0, 'file', fid));
  await refused('EBADF', (b as Client).rename(fid, 'file', 0, 'file'));
});

for (const atOnce of WAYS) {
  test(`names that another process changes all the time lead nowhere else (${atOnce})`, {
    timeout: 60_000,
  }, async (t) => {
    const fixture = new Fixture(t);
    const outside = join(fixture.outside, 'deep');
    mkdirSync(outside);
    writeFileSync(join(outside, 'file'), SECRET);
    chmodSync(join(outside, 'file'), 0o600);
    const { session } = fixture.host({ atOnce });
    const client = await Client.attach(session);
    const racer = race(fixture.folder, outside);
    await once(racer.stdout as NodeJS.ReadableStream, 'data');
    const outcomes = new Map<string, number>();
    try {
      for (let round = 0; round < ROUNDS; round++) {
        for (const [what, attempt] of attempts(client)) {
          const outcome = await attempt().then(
            () => 'done',
            (error: unknown) => {
              if (error instanceof ServerError) return error.message;
              throw error;
            },
          );
          outcomes.set(`${what} ${outcome}`, (outcomes.get(`${what} ${outcome}`) ?? 0) + 1);
        }
        if (round % 10 === 9)
          await client.call('version', [u32(65_536), text('9P2000.L')]).then(() => reattach(client));
      }
    } finally {
      racer.kill('SIGKILL');
      await once(racer, 'exit');
    }
    assert.deepEqual(readdirSync(outside), ['file']);
    assert.equal(readFileSync(join(outside, 'file'), 'latin1'), SECRET);
    assert.equal(statSync(join(outside, 'file')).mode & 0o777, 0o600);
    assert.equal(statSync(join(outside, 'file')).nlink, 1);
    // It has met the names in either state.
    const seen = [...outcomes.keys()];
    assert.ok(
      seen.some((one) => /^(read|list|create in|mkdir in|read what was linked) done/.test(one)),
      `${seen}`,
    );
    assert.ok(
      seen.some((one) => /(ENOTDIR|ELOOP)/.test(one)),
      `${seen}`,
    );
    assert.equal(session.counters.internalErrors, 0, `${session.lastInternalError}`);
  });
}

/** In the folder, `d` is a folder and `f` a file, or each a link that leads out, in turns without end. */
function race(folder: string, outside: string): ChildProcess {
  const program = `
    import { mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
    process.chdir(${JSON.stringify(folder)});
    const quietly = (act) => { try { act(); } catch {} };
    process.stdout.write('ready');
    for (let i = 0; ; i++) {
      quietly(() => mkdirSync('new'));
      quietly(() => writeFileSync('new/file', 'inside'));
      quietly(() => rmSync('d', { recursive: true }));
      quietly(() => renameSync('new', 'd'));
      quietly(() => writeFileSync('new-f', 'inside'));
      quietly(() => renameSync('new-f', 'f'));
      quietly(() => symlinkSync(${JSON.stringify(outside)}, 'link'));
      quietly(() => rmSync('d', { recursive: true }));
      quietly(() => renameSync('link', 'd'));
      quietly(() => symlinkSync(${JSON.stringify(join(outside, 'file'))}, 'link-f'));
      quietly(() => renameSync('link-f', 'f'));
      if (process.ppid === 1) process.exit();
    }`;
  return spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function reattach(client: Client): Promise<void> {
  await client.call('attach', [u32(0), u32(0xffff_ffff), text(''), text(''), u32(0)]);
}

/** What a guest may try, each meeting the names in whatever state they are. */
function attempts(client: Client): readonly (readonly [string, () => Promise<unknown>])[] {
  const check = (found: string): void => assert.ok(!found.includes(SECRET), 'the guest has read what lies outside');
  return [
    [
      'read',
      async () => {
        const fid = await client.walk(0, 'd', 'file');
        await client.open(fid);
        check(await client.read(fid));
      },
    ],
    [
      'write',
      async () => {
        const fid = await client.walk(0, 'f');
        await client.open(fid, O.RDWR | O.TRUNC);
        check(await client.read(fid));
        await client.write(fid, 0, 'by the guest');
      },
    ],
    ['create', async () => await client.write(await client.create(0, 'f', O.RDWR | O.TRUNC), 0, 'by the guest')],
    ['create in', async () => await client.create(await client.walk(0, 'd'), 'planted')],
    ['mkdir in', async () => await client.mkdir(await client.walk(0, 'd'), 'planted-d')],
    ['chmod', async () => await client.setattr(await client.walk(0, 'f'), 1, { mode: 0o777 })],
    ['truncate', async () => await client.setattr(await client.walk(0, 'f'), 8, { size: 1 })],
    ['unlink in', async () => await client.unlink(await client.walk(0, 'd'), 'file')],
    ['link', async () => await client.link(0, 'stolen', await client.walk(0, 'd', 'file'))],
    ['rename', async () => await client.rename(await client.walk(0, 'd'), 'file', 0, 'stolen')],
    [
      'read what was linked',
      async () => {
        const fid = await client.walk(0, 'stolen');
        await client.open(fid);
        check(await client.read(fid));
        await client.unlink(0, 'stolen');
      },
    ],
    [
      'list',
      async () => {
        const fid = await client.walk(0, 'd');
        await client.open(fid);
        for (const { name } of await client.list(fid))
          assert.ok(['.', '..', 'file', 'planted', 'planted-d'].includes(name));
      },
    ],
  ];
}

test('set-id bits and owners: a guest leaves nothing on the host that runs as somebody else', async (t) => {
  const fixture = new Fixture(t);
  const client = await fixture.client();
  const fid = await client.create(0, 'f', O.RDWR, 0o6777);
  assert.equal(statSync(fixture.path('f')).mode & 0o7777, 0o777);
  await client.setattr(fid, 1, { mode: 0o4711 });
  assert.equal(statSync(fixture.path('f')).mode & 0o7777, 0o711);
  writeFileSync(fixture.path('theirs'), '');
  chmodSync(fixture.path('theirs'), 0o4755);
  linkSync(fixture.path('theirs'), fixture.path('linked'));
  assert.equal((await client.stat(await client.walk(0, 'theirs'))).mode & 0o7777, 0o4755);
});

test('descriptors are bounded, and come back', async (t) => {
  const fixture = new Fixture(t);
  for (let i = 0; i < 20; i++) writeFileSync(fixture.path(`f${i}`), '');
  const { share, session } = fixture.host({ descriptors: 10 });
  const client = await Client.attach(session);
  const fids: number[] = [];
  await assert.rejects(async () => {
    for (let i = 0; i < 20; i++) fids.push(await client.walk(0, `f${i}`));
  }, /EMFILE/);
  assert.equal(fids.length, 9);
  await refused('EMFILE', client.open(fids[0] as number));
  await client.clunk(fids.pop() as number);
  await client.open(fids[0] as number);
  assert.equal(share.open, 10);
  session.reset();
  assert.equal(share.open, 1);
  share.close();
  assert.equal(share.open, 0);
});

test('fids are bounded, and cost no descriptor where they stand for the same', async (t) => {
  const { share, session } = new Fixture(t).host();
  const client = await Client.attach(session);
  const walk = (fid: number): Promise<unknown> => client.call('walk', [u32(0), u32(fid), u16(0)]);
  await walk(1);
  for (let fid = 2; fid < FIDS_MAX; fid++) {
    share.root.retain();
    session.fids.set(fid, { node: share.root, uid: 0 });
  }
  await refused('EMFILE', walk(FIDS_MAX));
  assert.equal(share.open, 1);
  await client.clunk(1);
  await walk(FIDS_MAX);
});

test('a folder that is not as asked for is an error that says what to do, and leaves nothing open', (t) => {
  const fixture = new Fixture(t);
  writeFileSync(fixture.path('file'), '');
  const good = { host: fixture.folder, guest: '/share' };
  const open =
    (...shares: { host: string; guest: string }[]) =>
    () =>
      openShares(shares, { quick: true });
  assert.throws(open(good, { host: fixture.path('none'), guest: '/x' }), {
    code: 'share-not-found',
    fix: `Make it first: mkdir -p ${fixture.path('none')}`,
  });
  assert.throws(open({ host: fixture.path('file'), guest: '/x' }), { code: 'share-not-a-folder' });
  for (const guest of ['work', '/', '//', '/a/../b', '/a/.', '/a:b', `/${'x'.repeat(2000)}`])
    assert.throws(open({ host: fixture.folder, guest }), { code: 'bad-share' }, guest);
  assert.throws(open(good, { ...good, guest: '/share/' }), { code: 'bad-share' });
  assert.ok(existsSync(fixture.folder));
});
