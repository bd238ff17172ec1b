import assert from 'node:assert/strict';
import { test } from 'node:test';
import { blockFor, checkRegisterModel, FakeClock, FakeLine, type Journal } from './platform.testing.ts';
import { Rtc } from './rtc.ts';

function makeRtc(journal: Journal = [], block = blockFor(Rtc.layout)) {
  const clock = new FakeClock();
  const line = new FakeLine(journal);
  const wakes: (number | undefined)[] = [];
  const rtc = new Rtc('rtc@101000', block, {
    clock,
    line,
    wakeAt: (wallMs) => {
      wakes.push(wallMs);
      journal.push(`wake ${wallMs}`);
    },
  });
  return { rtc, clock, line, wakes };
}

function started() {
  const all = makeRtc();
  all.rtc.reset();
  return all;
}

const timeOf = (rtc: Rtc) => {
  const low = rtc.read(0x00, 4);
  return (BigInt(rtc.read(0x04, 4)) << 32n) | BigInt(low);
};

function arm(rtc: Rtc, ns: bigint): void {
  rtc.write(0x0c, 4, Number(ns >> 32n));
  rtc.write(0x08, 4, Number(ns & 0xffff_ffffn));
}

checkRegisterModel('rtc', (journal, block) => {
  const { rtc, clock } = makeRtc(journal, block);
  return { device: rtc, registers: Rtc.registers, clock, disturb: () => rtc.serviceAlarm() };
});

test('time is nanoseconds since 1970; reading the low half latches the high one', () => {
  const { rtc, clock } = started();
  clock.nowMs = 1_700_000_000_123.5;
  assert.equal(timeOf(rtc), 1_700_000_000_123_500_000n);
  const low = rtc.read(0x00, 4);
  clock.nowMs += 10_000;
  const high = rtc.read(0x04, 4);
  assert.equal((BigInt(high) << 32n) | BigInt(low), 1_700_000_000_123_500_000n);
});

test('setting the time shifts it and survives a reset', () => {
  const { rtc, clock } = started();
  rtc.write(0x04, 4, 0x12);
  rtc.write(0x00, 4, 0x34);
  assert.equal(timeOf(rtc) >> 32n, 0x12n);
  assert.equal(timeOf(rtc) & 0xffff_ffffn, 0x34n);
  rtc.reset();
  clock.nowMs += 1;
  assert.equal(timeOf(rtc), (0x12n << 32n) + 0x34n + 1_000_000n);
});

test('an alarm asks to be woken, fires when due, interrupts if enabled', () => {
  const { rtc, clock, line, wakes } = started();
  rtc.write(0x10, 4, 1);
  arm(rtc, BigInt(clock.nowMs) * 1_000_000n + 2_500_000n);
  assert.equal(wakes.at(-1), clock.nowMs + 3);
  assert.equal(rtc.read(0x18, 4), 1);
  clock.nowMs += 2;
  rtc.serviceAlarm();
  assert.equal(line.level, false, 'woken early: asks again');
  assert.equal(wakes.at(-1), clock.nowMs + 1);
  clock.nowMs += 1;
  rtc.serviceAlarm();
  assert.equal(line.level, true);
  assert.equal(rtc.read(0x18, 4), 0);
  assert.equal(wakes.at(-1), undefined);
  rtc.write(0x1c, 4, 0);
  assert.equal(line.level, false);
});

test('a pending alarm interrupts once it is enabled; a cleared alarm never fires', () => {
  const { rtc, clock, line, wakes } = started();
  arm(rtc, 0n);
  assert.equal(line.level, false);
  rtc.write(0x10, 4, 1);
  assert.equal(line.level, true);
  rtc.write(0x1c, 4, 1);
  arm(rtc, BigInt(clock.nowMs + 5) * 1_000_000n);
  rtc.write(0x14, 4, 0);
  assert.equal(wakes.at(-1), undefined);
  clock.nowMs += 10;
  rtc.serviceAlarm();
  assert.equal(line.level, false);
});

test('a reset forgets the alarm', () => {
  const { rtc, clock, line, wakes } = started();
  rtc.write(0x10, 4, 1);
  arm(rtc, BigInt(clock.nowMs + 1000) * 1_000_000n);
  rtc.reset();
  assert.equal(rtc.read(0x18, 4), 0);
  assert.equal(wakes.at(-1), undefined);
  clock.nowMs += 2000;
  rtc.serviceAlarm();
  rtc.write(0x10, 4, 1);
  assert.equal(line.level, false);
});

test('an alarm at the end of time does not overflow', () => {
  const { rtc, wakes } = started();
  arm(rtc, 0xffff_ffff_ffff_ffffn);
  const wish = wakes.at(-1);
  assert.ok(wish !== undefined && Number.isFinite(wish) && wish > 0);
});
