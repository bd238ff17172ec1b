/**
 * A debugger at each level of a nested guest: hart 0 executes a guest's guest (VS- and VU-mode), hart 1 stays in machine
 * mode. Memory and breakpoints go through both stages, CSRs are of both levels, and the thread's name says which it is.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { assemble, CSRS } from '../../src/isa/index.ts';
import { freePort } from './free-port.testing.ts';
import { Wire } from './gdb-wire.testing.ts';
import { Guest } from './guest.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-gdb-nested-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const START = 0x8000_0000n;
const [STAGE, STAGE_LOW, OWN, GUEST, OTHER] = [0x4000n, 0x8000n, 0x9000n, 0x400n, 0x20_0000n];
/** Where the guest has memory of the machine, 1 GiB from START on. */
const KERNEL = 0xffff_ffc0_0000_0000n;
const SV39 = 8n << 60n;
const [TABLE, CODE, USER] = [1n, 0xcfn, 0xdfn];
const entry = (address: bigint, bits: bigint): bigint => ((address >> 12n) << 10n) | bits;

/** Machine mode: opens memory, delegates calls of VU-mode to VS-mode, and enters VS-mode with translation by two stages. */
const firmware = `
    csrr s0, mhartid
    bnez s0, rest
    li t0, -1
    csrw pmpaddr0, t0
    li t0, 0x1f
    csrw pmpcfg0, t0
    li t0, 0x100
    csrw medeleg, t0
    csrw hedeleg, t0
    li t0, ${SV39 | ((START + STAGE) >> 12n)}
    csrw hgatp, t0
    li t0, ${SV39 | ((0x4000_0000n + OWN) >> 12n)}
    csrw vsatp, t0
    li t0, ${KERNEL + GUEST}
    csrw mepc, t0
    addi t0, t0, 0x40
    csrw vstvec, t0
    li t0, 0x8000000800
    csrs mstatus, t0
    li s1, ${KERNEL + 0x1000n}
    li s2, ${GUEST + 0x80n}
    mret
rest:
    addi a2, a2, 1
    j rest`;
/** VS-mode: counts in a0 and into memory, and calls VU-mode, which counts in a1 and comes back by ecall. */
const kernel = `
    addi a0, a0, 1
    sd a0, 0(s1)
    csrw sepc, s2
    li t0, 0x100
    csrc sstatus, t0
    sret`;
const trap = `
    li t0, ${KERNEL + GUEST}
    jr t0`;
const user = `
    addi a1, a1, 1
    ecall`;

const image = new Uint8Array(0x20_1000);
image.set(assemble(firmware, START).bytes);
for (const [at, source] of [
  [GUEST, kernel],
  [GUEST + 0x40n, trap],
  [GUEST + 0x80n, user],
] as const)
  image.set(assemble(source, KERNEL + at).bytes, Number(at));
const words = new DataView(image.buffer);
const put = (table: bigint, index: number, value: bigint): void =>
  words.setBigUint64(Number(table) + index * 8, value, true);
// The second stage: a gigabyte, and 2 MiB at START that are those behind it.
put(STAGE, 1, entry(START, USER));
put(STAGE, 2, entry(START + STAGE_LOW, TABLE));
put(STAGE_LOW, 0, entry(START + OTHER, USER));
// The guest's own: user's, as the second stage has it, the kernel's.
put(OWN, 0, entry(0x4000_0000n, USER));
put(OWN, 2, entry(START, CODE));
put(OWN, 256, entry(0x4000_0000n, CODE));
words.setBigUint64(Number(OTHER), 0x1122_3344_5566_7788n, true);

const bios = join(folder, 'program.bin');
writeFileSync(bios, image);

const hex = (value: bigint): string => value.toString(16);
const littleEndian = (value: bigint): string => Buffer.from(BigUint64Array.of(value).buffer).toString('hex');

class Debugger extends Wire {
  async register(gdbNumber: number): Promise<bigint> {
    return Buffer.from(await this.ask(`p${gdbNumber.toString(16)}`), 'hex').readBigUInt64LE();
  }
  async csr(name: string): Promise<bigint> {
    return await this.register(65 + (CSRS.find((row) => row.name === name)?.number ?? assert.fail(name)));
  }
  get pc(): Promise<bigint> {
    return this.register(32);
  }
  get privilege(): Promise<bigint> {
    return this.register(65 + 4096);
  }
  async nameOf(thread: number): Promise<string> {
    return Buffer.from(await this.ask(`qThreadExtraInfo,${thread}`), 'hex').toString();
  }
  async word(address: bigint): Promise<string> {
    return await this.ask(`m${hex(address)},8`);
  }
}

test('memory, registers, steps and breakpoints of a guest’s guest', async () => {
  const port = await freePort();
  const options = { bios, cpus: 2, memoryBytes: 16 << 20, network: false, nested: true };
  await using _ = await Guest.start({ ...options, gdbPort: port, startPaused: true });
  await using gdb = new Debugger(port);
  const [tick, inUser] = [KERNEL + GUEST, GUEST + 0x80n];
  assert.equal(await gdb.nameOf(1), 'hart 0, M-mode');
  assert.equal(await gdb.ask(`Z0,${hex(tick)},2`), 'E01', 'machine mode has no such address');
  assert.equal(await gdb.ask(`Z0,${hex(START + GUEST)},2`), 'OK');
  assert.equal(await gdb.ask('vCont;c'), 'T05thread:1;swbreak:;');

  // In the kernel of level 2: the same frame, by another address.
  assert.deepEqual([await gdb.pc, await gdb.privilege], [tick, 5n]);
  assert.deepEqual([await gdb.nameOf(1), await gdb.nameOf(2)], ['hart 0, VS-mode', 'hart 1, M-mode']);
  assert.equal(await gdb.csr('vsatp'), SV39 | ((0x4000_0000n + OWN) >> 12n));
  assert.equal(await gdb.csr('hgatp'), SV39 | ((START + STAGE) >> 12n));
  assert.deepEqual([await gdb.csr('satp'), await gdb.csr('vstvec')], [0n, tick + 0x40n]);
  assert.equal(await gdb.word(START), littleEndian(0x1122_3344_5566_7788n), 'through both stages');
  assert.equal(await gdb.word(0x4000_0000n), 'E01', "the guest's own tables have no such page");
  assert.equal(await gdb.word(START + OTHER), 'E01', 'and the second stage not this one');
  assert.equal(await gdb.ask(`M${hex(START + 8n)},4:01020304`), 'OK');
  assert.equal(await gdb.ask(`m${hex(START + 8n)},4`), '01020304');
  assert.equal(await gdb.ask(`z0,${hex(START + GUEST)},2`), 'OK');

  // Steps of level 2 alone, then into its user.
  assert.equal(await gdb.ask('vCont;s:1'), 'T05thread:1;');
  assert.equal(await gdb.ask('vCont;s:1'), 'T05thread:1;');
  assert.equal(await gdb.word(KERNEL + 0x1000n), littleEndian(await gdb.register(10)));
  while ((await gdb.pc) !== inUser) assert.equal(await gdb.ask('vCont;s:1'), 'T05thread:1;');
  assert.deepEqual([await gdb.privilege, await gdb.nameOf(1)], [4n, 'hart 0, VU-mode']);
  assert.equal(await gdb.word(tick), 'E01', "its kernel's pages are not its own");
  assert.equal(await gdb.ask(`Z0,${hex(inUser)},2`), 'OK');
  const before = await gdb.register(11);
  for (const round of [1n, 2n]) {
    assert.equal(await gdb.ask('vCont;c:1'), 'T05thread:1;swbreak:;');
    assert.deepEqual([await gdb.pc, await gdb.register(11)], [inUser, before + round]);
  }
  assert.equal(await gdb.ask(`z0,${hex(inUser)},2`), 'OK');

  // One address, two levels: a breakpoint is where the hart that is looked at has it.
  const [at] = [...assemble(firmware, START).symbols].flatMap(([name, value]) => (name === 'rest' ? [value] : []));
  assert.ok(at !== undefined);
  while ((await gdb.pc) !== tick) assert.equal(await gdb.ask('vCont;s:1'), 'T05thread:1;');
  const guests = await gdb.word(at);
  assert.equal(await gdb.ask('Hg2'), 'OK');
  assert.notEqual(await gdb.word(at), guests);
  assert.equal(await gdb.ask(`Z0,${hex(at)},4`), 'OK');
  assert.equal(await gdb.ask('vCont;c:2'), 'T05thread:2;swbreak:;');
  assert.deepEqual([await gdb.pc, await gdb.privilege], [at, 3n]);
});
