import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fetchFirmware } from '../../src/host/debian/index.ts';
import { requires } from '../capability.ts';
import { programPath } from '../toolbox.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-toolbox-'));
after(() => rmSync(folder, { recursive: true, force: true }));

describe('the unpacked Debian tools run on this host', () => {
  test('QEMU 10 runs a program and ends with its code', { ...requires('qemu', 'cross'), timeout: 60_000 }, () => {
    const [source, program] = [join(folder, 'exit.s'), join(folder, 'exit')];
    // Writes the finisher's "fail with code 42" (QEMU virt's test device).
    writeFileSync(
      source,
      '.globl _start\n_start: li t0, 0x100000\n li t1, (42 << 16) + 0x3333\n sw t1, 0(t0)\n1: j 1b\n',
    );
    execFileSync(programPath('riscv64-linux-gnu-gcc'), [
      ...['-nostdlib', '-static', '-Wl,-Ttext=0x80000000,--build-id=none', '-o', program, source],
    ]);
    const machine = ['-M', 'virt', '-display', 'none', '-serial', 'none', '-monitor', 'none', '-bios', program];
    assert.equal(spawnSync(programPath('qemu-system-riscv64'), machine, { stdio: 'ignore' }).status, 42);
    assert.match(execFileSync(programPath('qemu-system-riscv64'), ['--version'], { encoding: 'utf8' }), /version 10\./);
  });

  test('the cross compiler compiles and links C', { ...requires('cross'), timeout: 60_000 }, () => {
    const [source, program] = [join(folder, 'hello.c'), join(folder, 'hello')];
    writeFileSync(source, '#include <stdio.h>\nint main(void) { return puts("hello") < 0; }\n');
    execFileSync(programPath('riscv64-linux-gnu-gcc'), ['-O2', '-static', '-o', program, source]);
    const riscv = 243;
    assert.equal(readFileSync(program).readUInt16LE(18), riscv);
    const listing = execFileSync(programPath('riscv64-linux-gnu-objdump'), ['-d', '--disassemble=main', program]);
    assert.match(listing.toString(), /jal\s/);
  });

  test('gdb-multiarch knows RISC-V and has its Python', { ...requires('gdb'), timeout: 60_000 }, () => {
    const commands = ['-batch', '-ex', 'set architecture riscv:rv64', '-ex', 'python print(40 + 2)'];
    assert.match(execFileSync(programPath('gdb-multiarch'), commands, { encoding: 'utf8' }), /^42$/m);
  });

  test('firmware images lie in the cache folder', requires('qemu'), async () => {
    const { openSbiDynamic, openSbiJump, uBoot, uBootSupervisor } = await fetchFirmware();
    for (const path of [openSbiDynamic, openSbiJump, uBoot, uBootSupervisor]) {
      assert.ok(readFileSync(path).length > 100_000, path);
    }
  });
});
