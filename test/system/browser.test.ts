/**
 * A page of Debian's Chromium as the machine's host: `kage demo` serves the page, Debian's stock kernel boots in it to
 * a shell, with memory that threads share and two harts, and without it and one. Small guests of a few instructions
 * show how machines of the page's library end, and what it refuses.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { BrowserContext, Page } from 'playwright-core';
import { assemble } from '../../src/isa/index.ts';
import { requires } from '../capability.ts';
import { kageCommand } from '../kage-command.ts';
import { openChromium } from './chromium.testing.ts';
import { debianImage } from './guest.testing.ts';

/** The page's library, where the demo serves it. */
const library = `/browser/index${extname(kageCommand)}`;
/** Ends what hangs; what works needs a fraction of it even on a busy machine. */
const LIMIT_MS = 240_000;

const folder = mkdtempSync(join(tmpdir(), 'kage-browser-'));
const started: ChildProcess[] = [];
const opened: BrowserContext[] = [];
after(async () => {
  await Promise.all(opened.map((context) => context.close()));
  for (const child of started) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

/** `kage demo` on a free port; its address. */
async function serve(...args: string[]): Promise<string> {
  await debianImage();
  const child = spawn(process.execPath, [kageCommand, 'demo', '-q', '--port', '0', ...args], {
    env: { ...process.env, NODE_TEST_CONTEXT: undefined },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  started.push(child);
  let said = '';
  for await (const bytes of child.stdout) {
    said += String(bytes);
    if (said.includes('\n')) break;
  }
  assert.match(said, /^http:\/\/127\.0\.0\.1:\d+\/\n$/);
  return said.trim();
}

/** A page of a browser that has never been used, and what went wrong in it. */
async function open(): Promise<{ page: Page; errors: string[] }> {
  const { context, page, errors } = await openChromium({ folder, limitMs: LIMIT_MS });
  opened.push(context);
  return { page, errors };
}

/** The terminal's lines, as people see them. */
async function screen(page: Page): Promise<string> {
  return (await page.locator('.xterm-rows > div').allTextContents()).join('\n');
}

/** Waits until the terminal shows `pattern`. */
async function shows(page: Page, pattern: RegExp): Promise<void> {
  await page
    .locator('.xterm-rows')
    .filter({ hasText: pattern })
    .waitFor()
    .catch(async (cause: unknown) => {
      const state = `${await page.locator('main').textContent()}`;
      throw new Error(`no ${pattern}; the page shows:\n${state}`, { cause });
    });
}

/** A kernel for supervisor mode: Linux's header (64 bytes, of which the first jumps behind it), then the program. */
function kernel(program: string): Buffer {
  const code = assemble(`j start\n${'.word 0\n'.repeat(15)}start:\n${program}`, 0x8020_0000n).bytes;
  const image = Buffer.from(code);
  image.writeBigUInt64LE(0x20_0000n, 8); // text offset
  image.writeBigUInt64LE(BigInt(Math.ceil(image.length / 4096) * 4096), 16); // size in memory
  image.write('RISCV\0\0\0', 48, 'latin1');
  image.write('RSC\x05', 56, 'latin1');
  return image;
}

function asAddress(bytes: Uint8Array): string {
  return `data:application/octet-stream;base64,${Buffer.from(bytes).toString('base64')}`;
}

/** Says "Hi" by the SBI's console, then ends as the test device is told. */
const greet = (word: number): string => `
    li a7, 1
    li a0, 72
    ecall
    li a0, 105
    ecall
    li t0, 0x100000
    li t1, ${word}
    sw t1, 0(t0)
1:  j 1b`;

/** Options of BrowserMachine.start, as plain data. */
type Asked = { kernel: string; cpus?: number; memoryBytes?: number; translate?: boolean; hotThreshold?: number };

/** Runs a machine of the page's library; what it said and how it ended, or the error that it met. */
async function run(page: Page, asked: Asked, then: 'await' | 'kill' | 'pause' = 'await'): Promise<unknown> {
  return await page.evaluate(
    async ({ library, asked, then }) => {
      const { BrowserMachine } = await import(library);
      try {
        const machine = await BrowserMachine.start({ memoryBytes: 16 * 2 ** 20, ...asked });
        let console = '';
        machine.onConsole((bytes: Uint8Array) => {
          console += new TextDecoder().decode(bytes);
        });
        if (then === 'kill') return { status: await machine.kill() };
        if (then === 'pause') {
          machine.pause();
          // Harts stop at the end of a slice; then they stand still.
          const counts: number[] = [];
          while (counts.length < 3 || counts.at(-1) !== counts.at(-3)) {
            const { vcpus } = await machine.stats();
            counts.push(vcpus.reduce((sum: number, vcpu: { instructions: number }) => sum + vcpu.instructions, 0));
          }
          machine.resume();
          for (let now = counts.at(-1); now === counts.at(-1); ) now = (await machine.stats()).vcpus[0].instructions;
          return { status: await machine.kill() };
        }
        const status = await machine.exited;
        return { console, status };
      } catch (error) {
        return { error: (error as { code?: string }).code ?? String(error) };
      }
    },
    { library, asked, then },
  );
}

describe('a page of Chromium', requires('apt', 'chromium'), () => {
  const modes = [
    { what: 'with SharedArrayBuffer', args: [], harts: 2, says: /a thread for each hart/ },
    { what: 'without SharedArrayBuffer', args: ['--no-isolation'], harts: 1, says: /no SharedArrayBuffer: one hart/ },
  ];
  for (const { what, args, harts, says } of modes) {
    describe(what, () => {
      let address: string;
      let page: Page;
      let errors: string[];
      before(async () => {
        address = await serve(...args);
        ({ page, errors } = await open());
      });

      test('the page says which mode it is', async () => {
        const disk = asAddress(Buffer.from('written before'.padEnd(4096, '\0')));
        await page.goto(`${address}?cpus=${harts}&memory=256&drive=${encodeURIComponent(disk)}`);
        await page.locator('body[data-state="idle"] #boot:enabled').waitFor();
        assert.match(`${await page.locator('#isolation').textContent()}`, says);
        assert.equal(await page.evaluate(() => Reflect.get(globalThis, 'crossOriginIsolated')), harts > 1);
        assert.equal(await page.locator('#cpus').inputValue(), String(harts));
        assert.equal((await page.locator('#cpus option').count()) > 1, harts > 1);
      });

      test(`Debian's stock kernel boots to a shell with ${harts} ${harts === 1 ? 'hart' : 'harts'}`, async () => {
        const { manifest } = await debianImage();
        await page.locator('#boot').click();
        await shows(page, /root@kage:~#/);
        await page.keyboard.type('clear; uname -r; echo "harts: $(nproc)"; echo $((6 * 7)) to you\n');
        await shows(page, /42 to you/);
        const text = await screen(page);
        assert.ok(text.includes(manifest.kernel.version), text);
        assert.ok(text.includes(`harts: ${harts}`), text);
      });

      test('its disk reads, and takes writes', async () => {
        const script =
          'head -c 14 /dev/vda; printf changed | dd of=/dev/vda conv=notrunc 2>&-; sync; head -c 14 /dev/vda';
        await page.keyboard.type(`clear; modprobe virtio_blk; (${script}) | tr -d "\\0" | tr " " _; echo\n`);
        await shows(page, /written_beforechanged_before/);
      });

      test('its random device gives', async () => {
        await page.keyboard.type('clear; echo $(head -c 65536 /dev/hwrng | wc -c) bytes\n');
        await shows(page, /65536 bytes/);
      });

      test('its counters move, and it powers off', async () => {
        await page
          .locator('#stats')
          .filter({ hasText: new RegExp(`^${harts} harts?\\s.*million instructions/s.*shell after`) })
          .waitFor();
        await page.keyboard.type('poweroff -f\n');
        await page.locator('body[data-state="ended"]').waitFor();
        assert.equal(await page.locator('#step').textContent(), 'Powered off');
        assert.deepEqual(errors, []);
      });

      test('machines of the library end as their guests say; kernels may be in gzip', async () => {
        const plain = asAddress(kernel(greet(0x5555)));
        const packed = asAddress(gzipSync(kernel(greet(7 * 65536 + 0x3333))));
        assert.deepEqual(await run(page, { kernel: plain, cpus: harts }), {
          console: 'Hi',
          status: { reason: 'poweroff', code: 0 },
        });
        for (const translation of [{ translate: false }, { hotThreshold: 1 }]) {
          assert.deepEqual(await run(page, { kernel: packed, ...translation }), {
            console: 'Hi',
            status: { reason: 'failure', code: 7 },
          });
        }
      });

      test('a machine that never rests stands still when paused, and ends when killed', async () => {
        const endless = asAddress(kernel('1: addi t0, t0, 1\n j 1b'));
        const killed = { reason: 'killed', code: 137 };
        assert.deepEqual(await run(page, { kernel: endless }, 'pause'), { status: killed });
        assert.deepEqual(await run(page, { kernel: endless }, 'kill'), { status: killed });
      });

      test('what cannot be is refused with its reason', async () => {
        const text = asAddress(Buffer.from('a letter, no kernel'));
        const cut = asAddress(gzipSync(kernel(greet(0x5555))).subarray(0, 40));
        const fine = asAddress(kernel(greet(0x5555)));
        assert.deepEqual(await run(page, { kernel: '/nowhere' }), { error: 'kernel-not-fetched' });
        assert.deepEqual(await run(page, { kernel: text }), { error: 'kernel-not-recognized' });
        assert.deepEqual(await run(page, { kernel: cut }), { error: 'kernel-damaged' });
        assert.deepEqual(await run(page, { kernel: fine, cpus: 17 }), {
          error: harts > 1 ? 'bad-cpus' : 'needs-shared-memory',
        });
        assert.deepEqual(await run(page, { kernel: fine, memoryBytes: 12345 }), { error: 'bad-memory' });
        assert.deepEqual(await run(page, { kernel: fine, hotThreshold: 0 }), { error: 'bad-threshold' });
      });
    });
  }
});
