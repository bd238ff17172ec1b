import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blockFor, checkRegisterModel, FakeClock, FakeDoorbell, FakeLine, type Journal } from './platform.testing.ts';
import { Uart } from './uart.ts';

const RBR = 0;
const THR = 0;
const IER = 1;
const IIR = 2;
const FCR = 2;
const LCR = 3;
const MCR = 4;
const LSR = 5;
const MSR = 6;

function makeUart(journal: Journal = [], block = blockFor(Uart.layout)) {
  const line = new FakeLine(journal);
  const doorbell = new FakeDoorbell(journal);
  const uart = new Uart('serial@10000000', block, { line, doorbell });
  return {
    uart,
    line,
    doorbell,
    read: (at: number) => uart.read(at, 1),
    write: (at: number, v: number) => uart.write(at, 1, v),
  };
}

function started() {
  const all = makeUart();
  all.uart.reset();
  return all;
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytes = (of: string) => new TextEncoder().encode(of);

checkRegisterModel('uart', (journal, block) => {
  const { uart } = makeUart(journal, block);
  return {
    device: uart,
    registers: Uart.registers,
    clock: new FakeClock(),
    disturb: (random) => {
      const kind = random.below(4);
      if (kind === 0) journal.push(`drained ${uart.drainOutput().join()}`);
      else if (kind === 1) uart.receiveBreak();
      else journal.push(`took ${uart.receive(new Uint8Array(random.below(40)).fill(random.next()))}`);
    },
  };
});

test('bytes written reach the I/O thread in order, across the end of the ring', () => {
  const { uart, write, doorbell } = started();
  let sent = '';
  let got = '';
  for (let i = 0; i < 3000; i++) {
    for (const c of bytes(`${i},`)) write(THR, c);
    sent += `${i},`;
    if (i % 100 === 0) got += text(uart.drainOutput());
  }
  got += text(uart.drainOutput());
  assert.equal(got, sent);
  assert.ok(doorbell.rings > 0);
  assert.equal(uart.state.outputDropped, 0);
});

test('THRE falls while a whole FIFO does not fit, and a driver that obeys it loses nothing', () => {
  const { uart, read, write } = started();
  // One byte first, so that the rest is no multiple of a FIFO.
  write(THR, 0);
  let written = 1;
  while ((read(LSR) & 0x20) !== 0) {
    for (let i = 0; i < 16; i++) write(THR, written++ & 0xff);
  }
  assert.equal(read(LSR) & 0x60, 0);
  assert.equal(uart.drainOutput().length, written);
  assert.equal(read(LSR) & 0x60, 0x60);
  assert.equal(uart.state.outputDropped, 0);
});

test('a driver that ignores THRE loses bytes, counted, and nothing else', () => {
  const { uart, write } = started();
  for (let i = 0; i < 5000; i++) write(THR, 0x41);
  assert.equal(uart.drainOutput().length, 4096);
  assert.equal(uart.state.outputDropped, 904);
});

test('draining a full ring raises the transmitter interrupt again', () => {
  const { uart, line, read, write } = started();
  write(IER, 0x02);
  for (let i = 0; i < 4096; i++) write(THR, 0x41);
  assert.equal(line.level, false);
  uart.drainOutput();
  assert.equal(line.level, true);
  assert.equal(read(IIR), 0x02);
  assert.equal(line.level, false);
});

test('the transmitter interrupt: raised by enabling it, cleared by seeing it, raised by the next byte', () => {
  const { line, read, write } = started();
  // What 8250_port.c does to find UARTs that do not raise it again.
  write(IER, 0x02);
  assert.equal(read(IIR), 0x02);
  assert.equal(read(IIR), 0x01);
  write(IER, 0);
  assert.equal(line.level, false);
  write(IER, 0x02);
  assert.equal(line.level, true);
  assert.equal(read(IIR), 0x02, 'asserted again');
  assert.equal(line.level, false);
  write(THR, 0x41);
  assert.equal(line.level, true);
  assert.equal(read(IIR), 0x02);
  write(IER, 0);
  assert.equal(read(IIR), 0x01);
});

test('input: 16 bytes with the FIFO, one without, the doorbell when refused bytes would fit', () => {
  const { uart, doorbell, read, write } = started();
  assert.equal(uart.receive(bytes('ab')), 1);
  assert.equal(doorbell.rings, 0);
  assert.equal(read(LSR) & 1, 1);
  assert.equal(read(RBR), 0x61);
  assert.equal(doorbell.rings, 1);
  assert.equal(read(LSR) & 1, 0);
  write(FCR, 0x01);
  assert.equal(uart.receive(bytes('0123456789abcdefghij')), 16);
  let got = '';
  while ((read(LSR) & 1) !== 0) got += String.fromCharCode(read(RBR));
  assert.equal(got, '0123456789abcdef');
  assert.equal(doorbell.rings, 2);
  assert.equal(read(RBR), 0, 'an empty FIFO reads as zero');
});

test('input below the trigger level interrupts as a timeout, at the level as data', () => {
  const { uart, line, read, write } = started();
  write(FCR, 0xc1); // FIFO, 14 bytes
  write(IER, 0x01);
  uart.receive(bytes('abc'));
  assert.equal(line.level, true);
  assert.equal(read(IIR), 0xcc);
  uart.receive(bytes('0123456789a'));
  assert.equal(read(IIR), 0xc4);
  write(FCR, 0xc3);
  assert.equal(line.level, false, 'clearing the FIFO lowers the line');
  assert.equal(read(IIR), 0xc1);
});

test('causes come by urgency: line status, data, transmitter, modem', () => {
  const { uart, read, write } = started();
  write(FCR, 0x01);
  write(IER, 0x0f);
  write(MCR, 0x10); // loopback drops CTS, DSR, DCD: modem deltas
  write(MCR, 0x00);
  uart.receiveBreak();
  assert.equal(read(IIR) & 0x0f, 0x06);
  assert.equal(read(LSR) & 0x11, 0x11);
  assert.equal(read(LSR) & 0x10, 0, 'reading clears the break');
  assert.equal(read(IIR) & 0x0f, 0x04);
  assert.equal(read(RBR), 0);
  assert.equal(read(IIR) & 0x0f, 0x02);
  assert.equal(read(IIR) & 0x0f, 0x00);
  assert.equal(read(MSR), 0xbb);
  assert.equal(read(MSR), 0xb0);
  assert.equal(read(IIR) & 0x0f, 0x01);
});

test("loopback: bytes return, modem outputs show as inputs, overrun is reported (the driver's probe)", () => {
  const { uart, read, write } = started();
  write(MCR, 0x1a);
  assert.equal(read(MSR) & 0xf0, 0x90, 'RTS and OUT2 come back as CTS and DCD');
  write(FCR, 0x01);
  for (let i = 0; i < 17; i++) write(THR, 0x30 + i);
  assert.equal(uart.drainOutput().length, 0, 'nothing leaves');
  assert.equal(read(LSR) & 0x02, 0x02);
  assert.equal(read(RBR), 0x30);
  assert.equal(uart.receive(bytes('x')), 0, 'the line is cut');
  write(MCR, 0x00);
  assert.equal(read(MSR) & 0xf0, 0xb0);
});

test('the ring indicator reports its trailing edge only', () => {
  const { read, write } = started();
  write(MCR, 0x1b); // loopback with CTS, DSR and DCD as they are outside
  read(MSR);
  write(MCR, 0x1f);
  assert.equal(read(MSR), 0xf0);
  write(MCR, 0x1b);
  assert.equal(read(MSR), 0xb4);
});

test('the divisor latch hides data and interrupt enable', () => {
  const { uart, read, write } = started();
  write(IER, 0x05);
  write(LCR, 0x83);
  write(0, 0x01);
  write(1, 0x02);
  assert.deepEqual([read(0), read(1)], [1, 2]);
  assert.equal(Uart.registers.nameOf(uart, 0, 1, 'write'), 'DLL');
  write(LCR, 0x03);
  assert.equal(read(IER), 0x05);
  assert.equal(uart.drainOutput().length, 0);
  assert.equal(Uart.registers.nameOf(uart, 0, 1, 'write'), 'THR');
});

test('word accesses carry the byte; what is beyond the registers is counted', () => {
  const { uart } = started();
  uart.write(7, 1, 0x5a);
  assert.equal(uart.read(7, 1), 0x5a);
  uart.write(4, 4, 0xffff_ff0b);
  assert.equal(uart.read(4, 4), 0x0b);
  uart.write(0x20, 1, 1);
  assert.equal(uart.read(0x20, 4), 0);
  assert.deepEqual([uart.state.unassignedReads, uart.state.unassignedWrites], [1, 1]);
});
