/** What operators may write behind `--trap`, and what comes of names that are none. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { OperatorError } from '../base/errors.ts';
import { MOST_POLICIES } from '../engine/index.ts';
import { COMPRESSED_ROWS, CSR_BY_NAME, CSRS, parseCpuModel, ROWS } from '../isa/index.ts';
import { boardConfig } from './board-config.ts';
import { parsePolicies } from './policies.ts';

const everything = parseCpuModel('rv64,h=on').extensions;

describe('--trap names', () => {
  const named: readonly [names: string[], policies: object[]][] = [
    [[], []],
    [['wfi'], [{ name: 'wfi', row: 'wfi' }]],
    [
      ['fence.i', 'amoadd.w', 'sh1add'],
      [
        { name: 'fence.i', row: 'fence.i' },
        { name: 'amoadd.w', row: 'amoadd.w' },
        { name: 'sh1add', row: 'sh1add' },
      ],
    ],
    [['satp'], [{ name: 'satp', csr: 0x180 }]],
    [
      ['rdtime', 'rdcycle', 'rdinstret'],
      [
        { name: 'rdtime', csr: 0xc01 },
        { name: 'rdcycle', csr: 0xc00 },
        { name: 'rdinstret', csr: 0xc02 },
      ],
    ],
    [['WFI', 'wfi'], [{ name: 'wfi', row: 'wfi' }]],
    // Two names of one thing are one policy: an execution is counted once, under the name that came first.
    [['rdtime', 'time'], [{ name: 'rdtime', csr: 0xc01 }]],
    [['time', 'rdtime'], [{ name: 'time', csr: 0xc01 }]],
  ];
  for (const [names, policies] of named) {
    test(names.join(' ') || 'nothing', () => assert.deepEqual(parsePolicies(names, everything), policies));
  }

  test('every instruction of the hart, and every CSR', () => {
    const names = [...ROWS.map(({ name }) => name), ...CSRS.map(({ name }) => name)];
    for (const name of names) {
      const [policy] = parsePolicies([name], everything);
      assert.ok(policy?.row === name || policy?.csr === CSR_BY_NAME.get(name)?.number, name);
    }
  });

  test('an instruction that is emulated, and none that the hart never executes', () => {
    const of = (cpu: string) => () => boardConfig({ cpu, traps: ['sh1add'] }).policies;
    assert.deepEqual(of('rv64,zba=emulate')(), [{ name: 'sh1add', row: 'sh1add' }]);
    assert.throws(of('rv64,zba=off'), {
      code: 'unknown-trap',
      message: /never executes sh1add/,
      fix: /zba on with --cpu/,
    });
  });
});

describe('--trap names nothing:', () => {
  const wrong: readonly [name: string, message: RegExp, fix: RegExp][] = [
    ['frob', /no instruction and no CSR frob/, /such as wfi/],
    ['', /no instruction and no CSR/, /such as wfi/],
    ['0x180', /no instruction and no CSR 0x180/, /such as satp/],
    // What the assembler knows is not what harts execute.
    ['ret', /no instruction and no CSR ret/, /such as wfi/],
    ['wfi,satp', /no instruction and no CSR wfi,satp/, /such as wfi/],
    ['c.addi', /c\.addi/, /Name what it is short for: addi/],
    ['c.lhu', /c\.lhu/, /Name what it is short for: lhu/],
  ];
  for (const [name, message, fix] of wrong) {
    test(name || '(empty)', () =>
      assert.throws(() => parsePolicies([name], everything), { code: 'unknown-trap', message, fix }),
    );
  }

  test('what compressed instructions are short for can be named', () => {
    for (const { name } of COMPRESSED_ROWS) {
      try {
        parsePolicies([name], everything);
        assert.fail(`${name} is a policy`);
      } catch (error) {
        assert.ok(error instanceof OperatorError, String(error));
        const long = error.fix.split(': ')[1] ?? '';
        assert.equal(parsePolicies([long], everything)[0]?.name, long, `${name} is short for '${long}'`);
      }
    }
  });

  test('too much', () => {
    const names = ROWS.slice(0, MOST_POLICIES + 1).map(({ name }) => name);
    assert.equal(parsePolicies(names.slice(1), everything).length, MOST_POLICIES);
    assert.throws(() => parsePolicies(names, everything), { code: 'too-many-traps', fix: /at most 32/ });
  });
});
