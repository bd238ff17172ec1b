import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatorError } from '../../base/errors.ts';
import type { ExecOptions, ExecResult } from '../machine/machine-api.ts';
import { installAgent, uninstallAgent } from './install.ts';

/** A guest that is a folder: paths of its disk are moved there, and systemctl only says what it was asked. */
describe('the agent as a service of a guest', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kagemusha-install-'));
  const agent = join(folder, 'usr/local/lib/kagemusha/agent');
  const unit = join(folder, 'etc/systemd/system/kagemusha-agent.service');
  const log = join(folder, 'log');
  const guest = {
    exec: async (argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> => {
      // Sat out until systemd was told.
      if (argv[0] === 'sleep')
        while (!existsSync(log) || !readFileSync(log, 'utf8').includes('--no-block')) await sleep(5);
      const [program = '', ...words] = argv.map((word) =>
        word.replaceAll(/\/(usr\/local\/lib|etc\/systemd|run\/systemd)/g, `${folder}/$1`),
      );
      return await new Promise((resolve) => {
        const env = { PATH: `${folder}/bin:/usr/bin:/bin` };
        const child = execFile(program, words, { env, encoding: 'buffer' }, (error, stdout, stderr) =>
          resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
        );
        child.stdin?.on('error', () => {}); // of a command that does not read
        child.stdin?.end(options.stdin instanceof Uint8Array ? options.stdin : '');
      });
    },
  };
  const asked = (): string[] => {
    const lines = existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n') : [];
    rmSync(log, { force: true });
    return lines;
  };

  before(() => {
    mkdirSync(join(folder, 'bin'));
    writeFileSync(join(folder, 'bin/sleep'), '#!/bin/sh\n');
    chmodSync(join(folder, 'bin/sleep'), 0o755);
    const systemctl = `#!/bin/sh\necho "$*" >> ${log}\n[ "$2" != is-active ] || [ -e ${agent} ]\n`;
    writeFileSync(join(folder, 'bin/systemctl'), systemctl);
    chmodSync(join(folder, 'bin/systemctl'), 0o755);
  });
  beforeEach(() => {
    for (const path of ['usr', 'etc', 'run']) rmSync(join(folder, path), { recursive: true, force: true });
    mkdirSync(join(folder, 'run/systemd/system'), { recursive: true });
    asked();
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  test('is put there, started, and left alone when it is as it should be', async () => {
    assert.equal(await installAgent(guest), 'installed');
    assert.deepEqual(readFileSync(agent), readFileSync(new URL('../../../guest/agent/agent', import.meta.url)));
    assert.equal(statSync(agent).mode & 0o777, 0o755);
    assert.match(readFileSync(unit, 'utf8'), /^ExecStart=\/bin\/sh \S*\/usr\/local\/lib\/kagemusha\/agent$/m);
    assert.equal(asked().at(-1), '--no-block restart kagemusha-agent.service');
    const inode = statSync(agent).ino;
    assert.equal(await installAgent(guest), 'unchanged');
    assert.equal(statSync(agent).ino, inode);
    assert.ok(!asked().some((line) => line.includes('restart')));
  });

  test('is renewed where it is another, by a file in its place: sh reads the old one on', async () => {
    await installAgent(guest);
    asked();
    writeFileSync(agent, 'echo old');
    const inode = statSync(agent).ino;
    assert.equal(await installAgent(guest), 'upgraded');
    assert.notEqual(statSync(agent).ino, inode);
    assert.equal(asked().at(-1), '--no-block restart kagemusha-agent.service');
    assert.equal(execFileSync('find', [folder, '-name', '*.new']).toString(), '');
  });

  test('is taken away, and may be absent', async () => {
    assert.equal(await uninstallAgent(guest), 'absent');
    await installAgent(guest);
    asked();
    assert.equal(await uninstallAgent(guest), 'removed');
    assert.deepEqual([existsSync(agent), existsSync(unit)], [false, false]);
    const words = asked();
    assert.ok(words.includes('--quiet disable kagemusha-agent.service'));
    assert.equal(words.at(-1), '--no-block stop kagemusha-agent.service');
  });

  test('not without systemd; what fails says why', async () => {
    rmSync(join(folder, 'run'), { recursive: true });
    const failsWith = (code: string) => (error: unknown) => error instanceof OperatorError && error.code === code;
    await assert.rejects(installAgent(guest), failsWith('no-systemd'));
    mkdirSync(join(folder, 'run/systemd/system'), { recursive: true });
    writeFileSync(join(folder, 'usr'), 'no folder');
    await assert.rejects(installAgent(guest), failsWith('agent-not-installed'));
  });
});
