import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connectMachine, createMachine, listMachines, OperatorError } from '../src/index.ts';
import { assemble } from '../src/isa/index.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-library-'));
const inherited = process.env['XDG_RUNTIME_DIR'];
const bios = join(folder, 'program.bin');
/** Says `ok` on the serial port, then sleeps. */
const program = `
    li t0, 0x10000000
    li t1, 'o'
    sb t1, 0(t0)
    li t1, 'k'
    sb t1, 0(t0)
1:  wfi
    j 1b`;
const options = { bios, memoryBytes: 16 << 20, network: false } as const;

before(() => {
  process.env['XDG_RUNTIME_DIR'] = folder;
  const source = program.replace(/'(.)'/g, (_, letter: string) => String(letter.charCodeAt(0)));
  writeFileSync(bios, assemble(source, 0x8000_0000n).bytes);
});
after(() => {
  if (inherited === undefined) delete process.env['XDG_RUNTIME_DIR'];
  else process.env['XDG_RUNTIME_DIR'] = inherited;
  rmSync(folder, { recursive: true, force: true });
});

describe('the library', () => {
  test('a machine lives as long as its block, and is reached by its name meanwhile', async () => {
    {
      await using machine = await createMachine({ ...options, name: 'lib', cpus: 2 });
      const heard = Promise.withResolvers<void>();
      let text = '';
      machine.onConsole((bytes) => {
        text += Buffer.from(bytes).toString();
        if (text.includes('ok')) heard.resolve();
      });
      await using remote = await connectMachine('lib');
      // It may have spoken before anybody listened.
      const history = async (): Promise<boolean> => Buffer.from(await remote.consoleHistory()).includes('ok');
      if (!(await history())) await heard.promise;
      assert.deepEqual(
        (await listMachines()).map(({ name, cpus }) => [name, cpus]),
        [['lib', 2]],
      );
      await machine.pause();
      assert.equal((await remote.info()).state, 'paused');
      await remote.resume();
      assert.equal(machine.info.state, 'running');
      assert.ok(Object.keys(await machine.stats()).includes('vcpus'));
      await assert.rejects(
        createMachine({ ...options, name: 'lib' }),
        (error: unknown) => error instanceof OperatorError && error.code === 'name-in-use',
      );
      const waiting = remote.exited();
      await machine.kill();
      assert.equal((await waiting).reason, 'killed');
      assert.equal((await machine.exited).reason, 'killed');
    }
    assert.deepEqual(await listMachines(), []);
    assert.deepEqual(
      readdirSync(join(folder, 'kagemusha'), { recursive: true, withFileTypes: true }).filter((one) => one.isFile()),
      [],
    );
  });

  test('a machine without a name gets one, and an aborted signal ends it', async () => {
    const abort = new AbortController();
    const machine = await createMachine({ ...options, signal: abort.signal });
    assert.match(machine.info.name, /^kage-[0-9a-f]{6}$/);
    abort.abort();
    assert.equal((await machine.exited).reason, 'killed');
  });

  test('what does not fit is an error with a code and a fix, and leaves nothing', async () => {
    const failing = createMachine({ ...options, bios: join(folder, 'none'), name: 'lib' });
    await assert.rejects(failing, (error: unknown) => error instanceof OperatorError && error.fix !== '');
    assert.deepEqual(await listMachines(), []);
  });
});
