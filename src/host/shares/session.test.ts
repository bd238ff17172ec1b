/** What Linux asks of a server of 9P2000.L, over a folder of this host. */
import assert from 'node:assert/strict';
import {
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Client, message, O, REMOVEDIR, refused, text, u8, u16, u32, u64 } from './client.testing.ts';
import { MESSAGE, NO_FID } from './message.ts';
import { Fixture } from './shares.testing.ts';

for (const quick of [true, false]) {
  test(`files are made, written, read, and are the host's (${quick ? 'while it is fast' : 'at once'})`, async (t) => {
    const fixture = new Fixture(t);
    const client = await fixture.client({ quick });
    const fid = await client.create(0, 'a file', O.RDWR, 0o640);
    assert.equal(await client.write(fid, 3, 'hello'), 5);
    assert.equal(await client.read(fid, 0, 100), '\0\0\0hello');
    assert.equal(await client.read(fid, 4, 2), 'el');
    assert.equal(await client.read(fid, 8), '');
    assert.equal(fixture.read('a file'), '\0\0\0hello');
    const stat = await client.stat(fid);
    assert.equal(stat.mode, 0o100640);
    assert.equal(stat.size, 8);
    assert.equal(stat.qid.path, statSync(fixture.path('a file'), { bigint: true }).ino);
    await client.call('fsync', [u32(fid), u32(0)]);
    await client.call('fsync', [u32(fid), u32(1)]);
    await client.clunk(fid);
    await refused('EBADF', client.read(fid));
  });
}

test('a version that is not ours is unknown; messages have a least size; a new version forgets all fids', async (t) => {
  const client = await new Fixture(t).client();
  const answer = await client.call('version', [u32(8192), text('9P2000')]);
  assert.deepEqual([answer.u32(), answer.string()], [8192, 'unknown']);
  await refused('EBADF', client.stat(0));
  await refused('EMSGSIZE', client.call('version', [u32(100), text('9P2000.L')]));
});

test('names are bytes: any but / and zero', async (t) => {
  const fixture = new Fixture(t);
  const client = await fixture.client();
  const name = '\xff\xfe \n\\';
  await client.write(await client.create(0, name), 0, 'x');
  assert.equal(await client.read(await opened(client, name)), 'x');
  const [found] = readdirSync(fixture.folder, { encoding: 'buffer' });
  assert.deepEqual(found, Buffer.from(name, 'latin1'));
  const folder = await opened(client);
  assert.deepEqual(
    (await client.list(folder)).map((entry) => entry.name),
    ['.', '..', name],
  );
  await refused('ENAMETOOLONG', client.create(0, 'x'.repeat(256)));
});

test('walking takes several steps, and says how far it came', async (t) => {
  const client = await new Fixture(t).client();
  await client.mkdir(0, 'a');
  await client.mkdir(await client.walk(0, 'a'), 'b');
  const b = await client.walk(0, 'a', 'b');
  assert.equal((await client.stat(b)).mode, 0o40755);
  const far = await client.call('walk', [u32(0), u32(99), u16(3), text('a'), text('none'), text('b')]);
  assert.equal(far.u16(), 1);
  await refused('EBADF', client.stat(99));
  await refused('ENOENT', client.call('walk', [u32(0), u32(99), u16(1), text('none')]));
  // In place, and up again: no higher than the root.
  await client.call('walk', [u32(b), u32(b), u16(3), text('..'), text('..'), text('..')]);
  assert.deepEqual((await client.stat(b)).qid.path, (await client.stat(0)).qid.path);
  await refused('EBADF', client.call('walk', [u32(0), u32(b), u16(0)]));
});

test('a folder of thousands is listed whole, whatever the size of messages; and again from any place', async (t) => {
  const fixture = new Fixture(t);
  const names = Array.from({ length: 3000 }, (_, i) => `file-${i}`);
  for (const name of names) writeFileSync(fixture.path(name), '');
  const client = await fixture.client();
  const folder = await opened(client);
  for (const count of [100, 4096, 60_000]) {
    const listed = await client.list(folder, count);
    assert.deepEqual(listed.map(({ name }) => name).sort(), ['.', '..', ...names].sort());
  }
  const all = await client.list(folder);
  const answer = await client.call('readdir', [u32(folder), u64(1234), u32(60)]);
  assert.ok(answer.u32() > 0);
  answer.bytes(13);
  assert.equal(answer.u64(), 1235n);
  answer.u8();
  assert.equal(answer.string(), all[1234]?.name);
  await refused('EINVAL', client.call('readdir', [u32(folder), u64(0), u32(10)]));
  await refused('EBADF', client.call('readdir', [u32(0), u64(0), u32(1000)]));
});

test('what is open goes on when it is renamed, replaced, or removed; so do folders', async (t) => {
  const fixture = new Fixture(t);
  const client = await fixture.client();
  const fid = await client.create(0, 'one');
  await client.write(fid, 0, 'first');
  await client.rename(0, 'one', 0, 'two');
  assert.equal(await client.read(fid), 'first');
  const closed = await client.walk(0, 'two');
  await client.unlink(0, 'two');
  assert.equal(await client.read(fid), 'first');
  assert.equal((await client.stat(closed)).links, 0);
  await client.open(closed, O.RDWR);
  await client.write(closed, 0, 'F');
  assert.equal(await client.read(fid), 'First');
  await client.setattr(fid, 8, { size: 2 });
  assert.equal(await client.read(fid), 'Fi');
  await client.mkdir(0, 'd');
  const folder = await client.walk(0, 'd');
  renameSync(fixture.path('d'), fixture.path('e'));
  await client.write(await client.create(folder, 'in'), 0, 'in e');
  assert.equal(fixture.read('e', 'in'), 'in e');
});

test('a link is made to what was renamed before, and not to another that took its name', async (t) => {
  const fixture = new Fixture(t);
  const client = await fixture.client();
  const fid = await client.create(0, 'old');
  await client.mkdir(0, 'sub');
  const sub = await client.walk(0, 'sub');
  await client.rename(0, 'old', sub, 'new');
  await client.link(0, 'linked', fid);
  assert.equal((await client.stat(fid)).links, 2);
  renameSync(fixture.path('sub', 'new'), fixture.path('sub', 'away'));
  writeFileSync(fixture.path('sub', 'new'), 'another');
  await refused('ESTALE', client.link(0, 'again', fid));
  await refused('EPERM', client.link(0, 'folder', sub));
});

test('links are made and read, and followed by nobody', async (t) => {
  const client = await new Fixture(t).client();
  await client.symlink(0, 'link', '../outside/secret');
  const link = await client.walk(0, 'link');
  assert.equal((await client.call('readlink', [u32(link)])).string(), '../outside/secret');
  assert.equal((await client.stat(link)).mode & 0o170000, 0o120000);
  await refused('ELOOP', client.open(link));
  await refused('EINVAL', client.call('readlink', [u32(0)]));
});

test('attributes change: mode without set-id bits, size, times to a quarter of a microsecond', async (t) => {
  const fixture = new Fixture(t);
  const client = await fixture.client();
  const fid = await client.create(0, 'f', O.RDWR, 0o4666);
  assert.equal((await client.stat(fid)).mode, 0o100666, "the guest's umask counts, not the host's");
  await client.setattr(fid, 1, { mode: 0o6755 });
  assert.equal(statSync(fixture.path('f')).mode & 0o7777, 0o755);
  await client.setattr(fid, 1, { mode: 0o400 });
  await client.setattr(fid, 8, { size: 10 });
  const before = statSync(fixture.path('f'), { bigint: true });
  await client.setattr(fid, 0x20 | 0x100, { mtime: [1_700_000_000, 123_456_789] });
  const after = statSync(fixture.path('f'), { bigint: true });
  assert.equal(after.atimeNs, before.atimeNs);
  const off = Number(after.mtimeNs - 1_700_000_000_123_456_789n);
  assert.ok(Math.abs(off) < 250, `${off} ns`);
  await client.setattr(fid, 0x10 | 0x80, { atime: [5, 0] });
  assert.equal(statSync(fixture.path('f')).atimeMs, 5000);
  assert.equal(statSync(fixture.path('f'), { bigint: true }).mtimeNs, after.mtimeNs);
  await client.setattr(fid, 0x20);
  assert.ok(statSync(fixture.path('f')).mtimeMs > 1_700_000_100_000);
  await refused('EISDIR', client.setattr(0, 8, { size: 1 }));
  await client.mkdir(0, 'd', 0o2777);
  assert.equal(statSync(fixture.path('d')).mode & 0o777, 0o777);
});

test("what a folder's mode does not let be opened for writing is resized by who has it open", async (t) => {
  const client = await new Fixture(t).client();
  const fid = await client.create(0, 'f', O.RDWR, 0o444);
  await client.write(fid, 0, 'abcdef');
  await client.setattr(fid, 8, { size: 3 });
  assert.equal(await client.read(fid), 'abc');
});

test('creating: a new one only, or what is there; truncated where asked', async (t) => {
  const fixture = new Fixture(t);
  const client = await fixture.client();
  writeFileSync(fixture.path('f'), 'content');
  await refused('EEXIST', client.create(0, 'f', O.RDWR | O.EXCL));
  const fid = await client.create(0, 'f');
  assert.equal(await client.read(fid), 'content');
  await client.create(0, 'f', O.WRONLY | O.TRUNC);
  assert.equal(fixture.read('f'), '');
  await refused('EBADF', client.write(await opened(client, 'f'), 0, 'x'));
  const append = await client.create(0, 'f', O.WRONLY | O.APPEND);
  await client.write(append, 0, 'one');
  await client.write(append, 0, 'two');
  assert.equal(fixture.read('f'), 'onetwo');
  await refused('EBADF', client.read(append));
});

test('removing: files, folders, by fid or by name', async (t) => {
  const fixture = new Fixture(t);
  const client = await fixture.client();
  await client.mkdir(0, 'd');
  const d = await client.walk(0, 'd');
  await client.create(d, 'f');
  await refused(39, client.unlink(0, 'd', REMOVEDIR));
  await refused('EISDIR', client.unlink(0, 'd'));
  await refused('ENOTDIR', client.unlink(d, 'f', REMOVEDIR));
  const f = await client.walk(d, 'f');
  await client.call('remove', [u32(f)]);
  await refused('EBADF', client.stat(f));
  await client.call('remove', [u32(d)]);
  assert.deepEqual(readdirSync(fixture.folder), []);
  await client.create(0, 'mine');
  const mine = await client.walk(0, 'mine');
  unlinkSync(fixture.path('mine'));
  writeFileSync(fixture.path('mine'), 'another');
  await refused('ESTALE', client.call('remove', [u32(mine)]));
  assert.equal(fixture.read('mine'), 'another');
  await refused('EBUSY', client.call('remove', [u32(await client.walk(0))]));
});

test('renaming within the share: by name, by fid, over another, and not into itself', async (t) => {
  const fixture = new Fixture(t);
  const client = await fixture.client();
  await client.mkdir(0, 'a');
  await client.mkdir(await client.walk(0, 'a'), 'b');
  const [a, b] = [await client.walk(0, 'a'), await client.walk(0, 'a', 'b')];
  await refused('EINVAL', client.rename(0, 'a', b, 'c'));
  await client.create(a, 'one');
  writeFileSync(fixture.path('two'), '2');
  await client.rename(a, 'one', 0, 'two');
  assert.equal(fixture.read('two'), '');
  const two = await client.walk(0, 'two');
  await client.call('rename', [u32(two), u32(b), text('three')]);
  assert.equal(fixture.read('a', 'b', 'three'), '');
  await client.link(0, 'four', two);
});

test('a file system is described; locks are granted; attributes, pipes and devices are refused', async (t) => {
  const client = await new Fixture(t).client();
  const stat = await client.call('statfs', [u32(0)]);
  stat.u32();
  assert.ok(stat.u32() >= 512);
  assert.ok(stat.u64() > 0n);
  const fid = await client.create(0, 'f');
  const range = [u64(0), u64(10), u32(7), text('guest')];
  assert.equal((await client.call('lock', [u32(fid), u8(1), u32(0), ...range])).u8(), 0);
  const held = await client.call('getlock', [u32(fid), u8(1), ...range]);
  assert.deepEqual([held.u8(), held.u64(), held.u64(), held.u32(), held.string()], [2, 0n, 10n, 7, 'guest']);
  await refused('EBADF', client.call('lock', [u32(0), u8(1), u32(0), ...range]));
  await refused('EOPNOTSUPP', client.call('xattrwalk', [u32(fid), u32(50), text('user.a')]));
  await refused('EOPNOTSUPP', client.call('xattrcreate', [u32(fid), text('user.a'), u64(1), u32(0)]));
  await refused('EPERM', client.call('mknod', [u32(0), text('p'), u32(0o10644), u32(0), u32(0), u32(0)]));
  await refused('EOPNOTSUPP', client.call('auth', [u32(5), text(''), text(''), u32(0)]));
  await refused('EINVAL', client.call('attach', [u32(5), u32(1), text(''), text(''), u32(0)]));
  await refused('EOPNOTSUPP', client.send(message(112, 1, [])));
});

test('a read-only share changes nothing, by no request', async (t) => {
  const fixture = new Fixture(t);
  writeFileSync(fixture.path('f'), 'x');
  symlinkSync('f', fixture.path('l'));
  const client = await fixture.client({ readOnly: true });
  const f = await client.walk(0, 'f');
  const before = statSync(fixture.path('f'), { bigint: true });
  for (const flags of [O.WRONLY, O.RDWR, O.RDONLY | O.TRUNC]) await refused('EROFS', client.open(f, flags));
  await refused('EROFS', client.create(0, 'g'));
  await refused('EROFS', client.create(0, 'f', O.RDONLY));
  await refused('EROFS', client.mkdir(0, 'd'));
  await refused('EROFS', client.symlink(0, 's', 'f'));
  await refused('EROFS', client.link(0, 'h', f));
  await refused('EROFS', client.rename(0, 'f', 0, 'g'));
  await refused('EROFS', client.call('rename', [u32(f), u32(0), text('g')]));
  await refused('EROFS', client.unlink(0, 'f'));
  await refused('EROFS', client.unlink(0, 'f', REMOVEDIR));
  for (const valid of [1, 2, 4, 8, 0x10, 0x20, 0x30]) await refused('EROFS', client.setattr(f, valid));
  await client.open(f);
  await refused('EROFS', client.write(f, 0, 'y'));
  assert.equal(await client.read(f), 'x');
  await refused('EROFS', client.call('remove', [u32(f)]));
  assert.deepEqual(readdirSync(fixture.folder).sort(), ['f', 'l']);
  assert.deepEqual(statSync(fixture.path('f'), { bigint: true }).ctimeNs, before.ctimeNs);
});

test('offsets beyond 2^32 are offsets; beyond 2^53 there is nothing, and nothing is written', async (t) => {
  const fixture = new Fixture(t);
  const client = await fixture.client();
  const fid = await client.create(0, 'sparse');
  await client.write(fid, 5 * 2 ** 31, 'far');
  assert.equal(statSync(fixture.path('sparse')).size, 5 * 2 ** 31 + 3);
  assert.equal(await client.read(fid, 5 * 2 ** 31), 'far');
  assert.equal(await client.read(fid, 2n ** 63n), '');
  await refused('EFBIG', client.write(fid, 2n ** 63n, 'x'));
  await refused('EFBIG', client.call('setattr', setSize(fid, 2n ** 60n)));
});

test('the qid of a file changes with it, and is never the one that forbids caching', async (t) => {
  const fixture = new Fixture(t);
  const client = await fixture.client();
  writeFileSync(fixture.path('f'), 'a');
  const first = (await client.stat(await client.walk(0, 'f'))).qid;
  writeFileSync(fixture.path('f'), 'ab');
  const second = (await client.stat(await client.walk(0, 'f'))).qid;
  assert.equal(first.path, second.path);
  assert.notEqual(first.version, second.version);
  utimesSync(fixture.path('f'), 0, 0);
  writeFileSync(fixture.path('g'), '');
  utimesSync(fixture.path('g'), 0, 0);
  assert.notEqual((await client.stat(await client.walk(0, 'g'))).qid.version, 0);
});

test('a twin has its own fids, and what was open there is open here', async (t) => {
  const fixture = new Fixture(t);
  const share = fixture.share();
  const client = await Client.attach(share.session);
  const fid = await client.create(0, 'f');
  await client.write(fid, 0, 'before');
  await client.unlink(0, 'f');
  const twin = share.twin();
  t.after(() => twin.close());
  twin.goOnFrom(share);
  const other = new Client(twin.session);
  assert.equal(await other.read(fid), 'before');
  await client.clunk(fid);
  share.session.reset();
  assert.equal(await other.read(fid), 'before');
  await other.mkdir(0, 'd');
  await refused('EBADF', client.stat(0));
});

test('saved and restored: names are looked up again, what has become another is gone', async (t) => {
  const fixture = new Fixture(t);
  const share = fixture.share();
  const client = await Client.attach(share.session);
  const kept = await client.create(0, 'kept');
  await client.write(kept, 0, 'kept');
  await client.mkdir(0, 'd');
  const folder = await opened(client, 'd');
  const [gone, replaced, unlinked] = [
    await client.create(0, 'gone'),
    await client.walk(0),
    await client.create(0, 'u'),
  ];
  await client.call('lcreate', [u32(replaced), text('replaced'), u32(O.RDWR | O.CREAT), u32(0o644), u32(0)]);
  await client.unlink(0, 'u');
  await client.rename(0, 'kept', folder, 'moved');
  const saved = JSON.parse(JSON.stringify(share.save()));
  unlinkSync(fixture.path('gone'));
  renameSync(fixture.path('replaced'), fixture.path('elsewhere'));
  symlinkSync(join(fixture.outside, 'secret'), fixture.path('replaced'));

  const later = fixture.share();
  await later.restore(saved);
  const restored = new Client(later.session);
  assert.equal(await restored.read(kept), 'kept');
  await restored.write(kept, 0, 'KEPT');
  assert.equal(fixture.read('d', 'moved'), 'KEPT');
  assert.deepEqual(
    (await restored.list(folder)).map(({ name }) => name),
    ['.', '..', 'moved'],
  );
  for (const fid of [gone, replaced, unlinked]) {
    await refused('ESTALE', restored.stat(fid));
    await refused('ESTALE', restored.read(fid));
    await restored.clunk(fid);
  }
  assert.equal(readFileSync(fixture.path('replaced'), 'utf8'), 'what no guest is to read');
});

test('what a guest holds of deep folders does not fill a snapshot: fids beyond are lost', async (t) => {
  const share = new Fixture(t).share();
  const client = await Client.attach(share.session);
  let deep = 0;
  for (let depth = 0; depth < 10; depth++) {
    await client.mkdir(deep, 'x'.repeat(255));
    deep = await client.walk(deep, 'x'.repeat(255));
  }
  for (let i = 0; i < 2000; i++) await client.walk(deep);
  const { fids } = share.save();
  assert.equal(fids.length, 2011);
  assert.ok(JSON.stringify(fids).length < 5 << 20);
  assert.ok(fids.some(({ path }) => path?.length === 10) && fids.some(({ path }) => path === undefined));
});

async function opened(client: Client, ...names: readonly string[]): Promise<number> {
  const fid = await client.walk(0, ...names);
  await client.open(fid);
  return fid;
}

function setSize(fid: number, size: bigint) {
  const rest = [u64(0), u64(0), u64(0), u64(0)];
  return [u32(fid), u32(8), u32(0), u32(0), u32(0), u64(size), ...rest];
}

test('what is under way at a flush is answered before the flush is', async (t) => {
  const fixture = new Fixture(t);
  const share = fixture.share();
  const client = await Client.attach(share.session);
  const fid = await client.create(0, 'f');
  const order: string[] = [];
  const sync = client.send(message(MESSAGE.fsync, 500, [u32(fid), u32(0)])).then(() => order.push('sync'));
  await refused('EINVAL', client.send(message(MESSAGE.clunk, 500, [u32(fid)])));
  const flush = client.send(message(MESSAGE.flush, 501, [u16(500)])).then(() => order.push('flush'));
  await Promise.all([sync, flush]);
  assert.deepEqual(order, ['sync', 'flush']);
  await client.send(message(MESSAGE.flush, 502, [u16(502)]));
  assert.equal(NO_FID, 0xffff_ffff);
});
