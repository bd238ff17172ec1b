import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { requires } from '../../../test/capability.ts';
import { programPath } from '../../../test/toolbox.ts';
import { OperatorError } from '../../base/errors.ts';
import { CSRS, F_NAMES, X_NAMES } from '../../isa/index.ts';
import { FakeTarget, memoryBase } from './fake-target.testing.ts';
import { describeTarget, GdbSession, listenForGdb } from './index.ts';
import { encodePacket, longestPayload, PacketReader, registerToHex, toHex } from './packets.ts';

const description = describeTarget({ x: X_NAMES, f: F_NAMES }, CSRS);
const base = memoryBase.toString(16);
const latin1 = (text: string) => Buffer.from(text, 'latin1');

describe('packets', () => {
  test('carry every byte, however they are cut', () => {
    const payload = Uint8Array.from({ length: 256 }, (_, i) => i);
    const reader = new PacketReader();
    const seen = [...encodePacket(payload)].flatMap((byte) => reader.push(Uint8Array.of(byte)));
    assert.deepEqual(seen, [{ kind: 'packet', payload }]);
  });

  test('a wrong checksum, an interrupt and a refusal are told apart from what is no packet', () => {
    const reader = new PacketReader();
    const seen = reader.push(latin1('+x$OK#00\x03-$g#67')).map(({ kind }) => kind);
    assert.deepEqual(seen, ['damaged', 'interrupt', 'refused', 'packet']);
  });

  test('a payload without end is not kept', () => {
    const reader = new PacketReader();
    const seen = reader.push(latin1(`$${'a'.repeat(longestPayload + 1)}`));
    assert.deepEqual(seen, [{ kind: 'too-long' }]);
  });
});

describe('a session', () => {
  let target: FakeTarget;
  let session: GdbSession;
  let sent: Buffer[];
  let isClosed: boolean;

  beforeEach(async () => {
    target = new FakeTarget();
    sent = [];
    isClosed = false;
    const port = {
      write: (bytes: Uint8Array) => void sent.push(Buffer.from(bytes)),
      close: () => {
        isClosed = true;
      },
    };
    session = new GdbSession(target, port, description);
    await session.settled();
  });

  afterEach(async () => void (await target.interrupt()));

  /** What is answered to a packet, without framing and acknowledgement. */
  async function ask(payload: string | Uint8Array): Promise<string> {
    sent.length = 0;
    session.onData(encodePacket(typeof payload === 'string' ? latin1(payload) : payload));
    await session.settled();
    return answers().join('|');
  }

  function answers(): string[] {
    return new PacketReader()
      .push(Buffer.concat(sent))
      .map((incoming) =>
        incoming.kind === 'packet' ? Buffer.from(incoming.payload).toString('latin1') : incoming.kind,
      );
  }

  test('halts the machine, and says so', async () => {
    assert.deepEqual(target.calls, ['interrupt']);
    assert.equal(await ask('?'), 'T02thread:1;');
  });

  const zero = registerToHex(0n);
  const cases: readonly [what: string, dialogue: readonly (readonly [ask: string, answer: string | RegExp])[]][] = [
    ['features', [['qSupported:multiprocess+;swbreak+', /^PacketSize=4000;qXfer:features:read\+/]]],
    [
      'what is not there',
      [
        ['vMustReplyEmpty', ''],
        ['qTStatus', ''],
        ['Z2,0,4', ''],
        ['qCRC:0,4', ''],
        ['', ''],
      ],
    ],
    [
      'threads',
      [
        ['qfThreadInfo', 'm1,2'],
        ['qsThreadInfo', 'l'],
        ['qC', 'QC1'],
        ['T2', 'OK'],
        ['T3', 'E16'],
        ['T0', 'E16'],
      ],
    ],
    ['a thread by name', [['qThreadExtraInfo,2', toHex(latin1('hart 1, VS-mode'))]]],
    [
      'the mode, which is read-only',
      [
        ['p1041', registerToHex(1n)],
        ['Hg2', 'OK'],
        ['p1041', registerToHex(5n)],
        [`P1041=${zero}`, 'E16'],
        ['p1042', 'E16'],
      ],
    ],
    ['all general registers', [['g', `${zero.repeat(32)}${registerToHex(memoryBase)}`]]],
    [
      'one register',
      [
        ['p20', registerToHex(memoryBase)],
        ['p22', registerToHex(1n << 52n)],
        ['p5000', 'E16'],
        ['pzz', 'E16'],
      ],
    ],
    [
      'a written register',
      [
        ['Pa=0807060504030201', 'OK'],
        ['pa', '0807060504030201'],
        ['P0=ffffffffffffffff', 'OK'],
        ['p0', zero],
        ['Pa=00', 'E16'],
      ],
    ],
    [
      'CSRs by number',
      [
        [`p${(65 + 0x300).toString(16)}`, registerToHex(0xa_0000_0000n)],
        [`P${(65 + 0x300).toString(16)}=${zero}`, 'OK'],
        [`p${(65 + 0x300).toString(16)}`, zero],
        [`p${(65 + 0x301).toString(16)}`, 'x'.repeat(16)],
        [`P${(65 + 0xf14).toString(16)}=${zero}`, 'E16'],
      ],
    ],
    [
      'registers of the hart that is chosen',
      [
        ['Hg2', 'OK'],
        [`p${(65 + 0xf14).toString(16)}`, registerToHex(1n)],
        ['Hg0', 'OK'],
        ['qC', 'QC2'],
        ['Hg9', 'E16'],
      ],
    ],
    [
      'memory',
      [
        [`m${base},4`, '13051500'],
        [`M${base},2:beef`, 'OK'],
        [`m${base},4`, 'beef1500'],
        [`m${base},0`, 'OK'],
      ],
    ],
    ['memory up to its end', [[`m${(memoryBase + 4094n).toString(16)},8`, '1500']]],
    [
      'memory that is not there',
      [
        ['m0,4', 'E01'],
        ['M0,1:00', 'E01'],
        [`M${(memoryBase + 4095n).toString(16)},2:0000`, 'E01'],
      ],
    ],
    [
      'memory requests that are wrong',
      [
        ['m', 'E16'],
        ['mxyz,4', 'E16'],
        [`M${base},4:00`, 'E16'],
        [`M${base},1:zz`, 'E16'],
        [`m${'f'.repeat(17)},1`, 'E16'],
      ],
    ],
    [
      'steps',
      [
        ['vCont?', 'vCont;c;C;s;S'],
        ['vCont;s:2;c', 'T05thread:2;'],
        ['pa', registerToHex(1n)],
        ['s', 'T05thread:2;'],
        ['vCont;x', 'E16'],
        ['vCont;s:7', 'E16'],
        ['vCont;c:0', 'E16'],
      ],
    ],
    [
      'harts that are not named stay where they are',
      [
        [`Z0,${(memoryBase + 40n).toString(16)},2`, 'OK'],
        ['vCont;c:2', 'T05thread:2;swbreak:;'],
        ['p20', registerToHex(memoryBase + 40n)],
        ['Hg1', 'OK'],
        ['p20', registerToHex(memoryBase)],
        ['vCont;s:1', 'T05thread:1;'],
        ['Hg2', 'OK'],
        ['p20', registerToHex(memoryBase + 40n)],
      ],
    ],
    [
      'the first action that names a hart counts',
      [
        ['vCont;s:2;c:2;s:1', 'T05thread:1;'],
        ['p20', registerToHex(memoryBase + 4n)],
        ['Hg2', 'OK'],
        ['p20', registerToHex(memoryBase + 4n)],
        ['vCont;C05:1;s:-1', 'T05thread:2;'],
      ],
    ],
    [
      'a breakpoint',
      [
        [`Z0,${(memoryBase + 40n).toString(16)},2`, 'OK'],
        ['vCont;c', 'T05thread:1;swbreak:;'],
        ['p20', registerToHex(memoryBase + 40n)],
        [`z0,${(memoryBase + 40n).toString(16)},2`, 'OK'],
      ],
    ],
    [
      'breakpoints that cannot be',
      [
        ['Z0,0,4', 'E01'],
        ['Z0,', 'E16'],
        ['z0,0,4', 'E01'],
      ],
    ],
    [
      'all registers written',
      [
        [`G${registerToHex(7n).repeat(33)}`, 'OK'],
        ['p20', registerToHex(7n)],
        ['p0', zero],
        ['G00', 'E16'],
      ],
    ],
  ];
  for (const [what, dialogue] of cases) {
    test(what, async () => {
      for (const [question, answer] of dialogue) {
        const said = await ask(question);
        if (typeof answer === 'string') assert.equal(said, answer, question);
        else assert.match(said, answer, question);
      }
    });
  }

  test('the description comes in pieces that join to the whole', async () => {
    let whole = '';
    for (;;) {
      const said = await ask(`qXfer:features:read:target.xml:${whole.length.toString(16)},ffb`);
      whole += said.slice(1);
      if (said.startsWith('l')) break;
    }
    assert.equal(whole, description);
    for (const name of ['ra', 'pc', 'ft0', 'mstatus', 'satp', 'fcsr', 'pmpaddr15'])
      assert.match(whole, new RegExp(`"${name}"`));
    assert.equal(await ask('qXfer:features:read:other.xml:0,100'), 'E00');
  });

  test('binary writes', async () => {
    assert.equal(await ask(Buffer.concat([latin1(`X${base},4:`), Uint8Array.of(0x23, 0x24, 0x7d, 0)])), 'OK');
    assert.equal(await ask(`m${base},4`), '23247d00');
    assert.equal(await ask(`X${base},5:ab`), 'E16');
    assert.equal(await ask(`X${base},0:`), 'OK');
  });

  test('an interrupt while the harts run', async () => {
    sent.length = 0;
    session.onData(encodePacket(latin1('vCont;c')));
    while (!target.isRunning) await new Promise(setImmediate);
    session.onData(Uint8Array.of(3));
    await session.settled();
    assert.deepEqual(answers(), ['T02thread:2;']);
  });

  test('an interrupt in the same bytes as what lets the harts run', async () => {
    sent.length = 0;
    session.onData(Buffer.concat([encodePacket(latin1('qC')), encodePacket(latin1('vCont;c')), Uint8Array.of(3)]));
    await session.settled();
    assert.deepEqual(answers(), ['QC1', 'T02thread:2;']);
  });

  test('an interrupt names a hart that ran', async () => {
    sent.length = 0;
    session.onData(Buffer.concat([encodePacket(latin1('vCont;c:1')), Uint8Array.of(3)]));
    await session.settled();
    assert.deepEqual(answers(), ['T02thread:1;']);
  });

  test('an interrupt that crosses a stop reply has had its effect', async () => {
    session.onData(Buffer.concat([encodePacket(latin1('qC')), Uint8Array.of(3)]));
    await session.settled();
    target.endsAfter = 10;
    assert.equal(await ask('vCont;c'), 'W03');
  });

  test('the end of the machine', async () => {
    target.endsAfter = 10;
    assert.equal(await ask('c'), 'W03');
  });

  test('packets are acknowledged, repeated on request, and after the agreement not', async () => {
    await ask('qC');
    assert.equal(Buffer.concat(sent).toString(), '+$QC1#c5');
    sent.length = 0;
    session.onData(latin1('-'));
    assert.equal(Buffer.concat(sent).toString(), '$QC1#c5');
    sent.length = 0;
    session.onData(latin1('$qC#00'));
    assert.equal(Buffer.concat(sent).toString(), '-');
    await ask('QStartNoAckMode');
    assert.equal(Buffer.concat(sent).toString(), '+$OK#9a');
    await ask('qC');
    assert.equal(Buffer.concat(sent).toString(), '$QC1#c5');
  });

  for (const [what, leave] of [
    ['detaching', () => ask('D')],
    ['a lost connection', () => session.onClose()],
  ] as const) {
    test(`${what} takes breakpoints back and lets the machine go on`, async () => {
      await ask(`Z0,${base},4`);
      await leave();
      assert.equal(target.breakpoints.size, 0);
      assert.equal(target.calls.at(-1), 'continue continue');
    });
  }

  test('a connection lost while the harts run leaves them running', async () => {
    session.onData(encodePacket(latin1('c')));
    while (!target.isRunning) await new Promise(setImmediate);
    await session.onClose();
    assert.equal(target.isRunning, true);
  });

  test('kill', async () => {
    await ask('k');
    assert.equal(target.calls.at(-1), 'kill');
    assert.equal(isClosed, true);
  });
});

describe('the port', () => {
  test('one debugger at a time; a port in use is an error with a way out', async () => {
    const target = new FakeTarget();
    target.endsAfter = 100; // it goes on when its debugger has left
    await using server = await listenForGdb(target, 0, description);
    await assert.rejects(
      listenForGdb(new FakeTarget(), server.port, description),
      (error: unknown) => error instanceof OperatorError && error.code === 'port-in-use',
    );
    const first = connect(server.port, '127.0.0.1');
    first.write('$qC#b4');
    await once(first, 'data');
    const second = connect(server.port, '127.0.0.1');
    second.on('error', () => {});
    await once(second, 'close');
    first.destroy();
  });
});

test("Debian's gdb reads, writes, steps and stops at breakpoints", requires('gdb'), async () => {
  const target = new FakeTarget();
  await using server = await listenForGdb(target, 0, description);
  const script = [
    'set pagination off',
    'set confirm off',
    'set architecture riscv:rv64',
    `target remote 127.0.0.1:${server.port}`,
    'info threads',
    'p/x $pc',
    'stepi',
    'p/x $pc',
    'p $a0',
    'set $s3 = 0x1234567890',
    'p/x $s3',
    'p/x $mstatus',
    'set $mstatus = 0x88',
    'p/x $mstatus',
    'p/x $mhartid',
    'thread 2',
    'p/x $mhartid',
    'x/2i 0x80000000',
    'set {int}0x80000100 = 0x00a00513',
    'x/i 0x80000100',
    'x/wx 0',
    'break *0x80000040',
    'continue',
    'p/x $pc',
    'delete',
    'detach',
  ];
  const output = await runGdb(script);
  for (const line of [
    /\$1 = 0x80000000\n/,
    /\$2 = 0x80000004\n/,
    /\$3 = 1\n/,
    /\$4 = 0x1234567890\n/,
    /\$5 = 0xa00000000\n/,
    /\$6 = 0x88\n/,
    /\$7 = 0x0\n/,
    /\$8 = 0x1\n/,
    /0x80000000:\s+addi?\s+a0,a0,1\n/,
    /0x80000100:\s+(li\s+a0,10|addi\s+a0,zero,10)\n/,
    /Cannot access memory at address 0x0\n/,
    /hit Breakpoint 1|Breakpoint 1,/,
    /\$9 = 0x80000040\n/,
    /Thread 2.*hart 1/,
  ]) {
    assert.match(output, line);
  }
  assert.equal(target.breakpoints.size, 0);
  await target.interrupt();
});

async function runGdb(script: readonly string[]): Promise<string> {
  const args = ['-nx', '-batch', ...script.flatMap((command) => ['-ex', command])];
  const gdb = spawn(programPath('gdb-multiarch'), args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 });
  let output = '';
  gdb.stdout.on('data', (chunk) => (output += chunk));
  gdb.stderr.on('data', (chunk) => (output += chunk));
  await once(gdb, 'close');
  return output;
}
