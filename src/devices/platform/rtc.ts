/**
 * Goldfish real-time clock (`google,goldfish-rtc`): nanoseconds since 1970 and one alarm, in halves of 32 bits.
 * Reading TIME_LOW latches TIME_HIGH, writing ALARM_LOW arms the alarm with what ALARM_HIGH holds.
 *
 * The alarm needs somebody to wake the device: it hands out the wall-clock time at which `serviceAlarm` wants to be
 * called. Setting the time shifts the guest's clock against the machine's by `offsetNs` (modulo 2^64).
 */
import { struct, type View } from '../../base/struct.ts';
import type { AccessBytes, Block, Device, DeviceClock, InterruptLine } from '../device.ts';
import { accessCounters, RegisterTable } from '../registers.ts';

const layout = struct('rtc', {
  ...accessCounters,
  /** Guest's time - machine's time in ns, modulo 2^64. */
  offsetNs: 'u64',
  alarmNs: 'u64',
  /** Latched by reading TIME_LOW. */
  timeHigh: 'u32',
  /** Written ahead of TIME_LOW and ALARM_LOW. */
  alarmHigh: 'u32',
  alarmArmed: 'u8',
  irqEnabled: 'u8',
  irqPending: 'u8',
  lineLevel: 'u8',
});

export interface RtcPorts {
  readonly clock: DeviceClock;
  readonly line: InterruptLine;
  /** Asks for one call of `serviceAlarm` at `wallMs` of DeviceClock (undefined: none). Replaces the last wish. */
  wakeAt(wallMs: number | undefined): void;
}

export class Rtc implements Device {
  static readonly layout = layout;
  static readonly registers = new RegisterTable<Rtc>([
    {
      at: 0x00,
      bytes: 4,
      name: 'TIME_LOW',
      read: (rtc) => rtc.#latchTime(),
      write: (rtc, value) => rtc.#setTime(((rtc.#now() >> 32n) << 32n) | BigInt(value)),
      does: 'time, low half; reading latches the high half',
    },
    {
      at: 0x04,
      bytes: 4,
      name: 'TIME_HIGH',
      read: (rtc) => rtc.state.timeHigh,
      write: (rtc, value) => rtc.#setTime((rtc.#now() & 0xffff_ffffn) | (BigInt(value) << 32n)),
      reset: 0,
      does: 'time, high half as latched',
    },
    {
      at: 0x08,
      bytes: 4,
      name: 'ALARM_LOW',
      read: (rtc) => Number(rtc.state.alarmNs & 0xffff_ffffn),
      write: (rtc, value) => rtc.#arm(value),
      reset: 0,
      does: 'alarm time, low half; writing arms the alarm',
    },
    {
      at: 0x0c,
      bytes: 4,
      name: 'ALARM_HIGH',
      read: (rtc) => Number(rtc.state.alarmNs >> 32n),
      write: (rtc, value) => {
        rtc.state.alarmHigh = value;
      },
      reset: 0,
      does: 'alarm time, high half; takes effect with ALARM_LOW',
    },
    {
      at: 0x10,
      bytes: 4,
      name: 'IRQ_ENABLED',
      read: (rtc) => rtc.state.irqEnabled,
      write: (rtc, value) => {
        rtc.state.irqEnabled = value & 1;
        rtc.#update();
      },
      reset: 0,
      does: 'lets the alarm interrupt',
    },
    {
      at: 0x14,
      bytes: 4,
      name: 'CLEAR_ALARM',
      write: (rtc) => {
        rtc.state.alarmArmed = 0;
        rtc.#wake();
      },
      does: 'disarms the alarm',
    },
    {
      at: 0x18,
      bytes: 4,
      name: 'ALARM_STATUS',
      read: (rtc) => rtc.state.alarmArmed,
      reset: 0,
      does: '1 while the alarm is armed',
    },
    {
      at: 0x1c,
      bytes: 4,
      name: 'CLEAR_INTERRUPT',
      write: (rtc) => {
        rtc.state.irqPending = 0;
        rtc.#update();
      },
      does: 'lowers the interrupt',
    },
  ]);

  readonly name: string;
  readonly sizeBytes = 0x1000;
  readonly layout = layout;
  readonly state: View<typeof layout.fields>;
  readonly #ports: RtcPorts;

  constructor(name: string, block: Block, ports: RtcPorts) {
    this.name = name;
    this.state = layout.view(block.buffer, block.at);
    this.#ports = ports;
  }

  /** A reset forgets the alarm, not the time: the clock has its own battery. */
  reset(): void {
    const { state } = this;
    state.unassignedReads = state.unassignedWrites = 0;
    state.alarmNs = 0n;
    state.timeHigh = state.alarmHigh = 0;
    state.alarmArmed = state.irqEnabled = state.irqPending = 0;
    this.drive();
  }

  read(offset: number, bytes: AccessBytes): number {
    return Rtc.registers.read(this, offset, bytes);
  }

  write(offset: number, bytes: AccessBytes, value: number): void {
    Rtc.registers.write(this, offset, bytes, value);
  }

  /** Raises the interrupt if the alarm is due; else asks to be woken again. Early and repeated calls are harmless. */
  serviceAlarm(): void {
    const { state } = this;
    if (state.alarmArmed !== 0 && this.#now() >= state.alarmNs) {
      state.alarmArmed = 0;
      state.irqPending = 1;
      this.#update();
    }
    this.#wake();
  }

  /** Puts line and wish where the state says: after reset and restore. */
  drive(): void {
    this.state.lineLevel = this.#level();
    this.#ports.line.set(this.state.lineLevel === 1);
    this.#wake();
  }

  #now(): bigint {
    const ms = this.#ports.clock.wallMs();
    const whole = Math.floor(ms);
    const ns = BigInt(whole) * 1_000_000n + BigInt(Math.floor((ms - whole) * 1e6));
    return BigInt.asUintN(64, ns + this.state.offsetNs);
  }

  #latchTime(): number {
    const now = this.#now();
    this.state.timeHigh = Number(now >> 32n);
    return Number(now & 0xffff_ffffn);
  }

  #setTime(ns: bigint): void {
    this.state.offsetNs = BigInt.asUintN(64, ns - this.#now() + this.state.offsetNs);
    this.serviceAlarm();
  }

  #arm(low: number): void {
    this.state.alarmNs = (BigInt(this.state.alarmHigh) << 32n) | BigInt(low);
    this.state.alarmArmed = 1;
    this.serviceAlarm();
  }

  #wake(): void {
    const { alarmArmed, alarmNs } = this.state;
    if (alarmArmed === 0) {
      this.#ports.wakeAt(undefined);
      return;
    }
    const now = this.#now();
    const restMs = alarmNs > now ? Math.ceil(Number(alarmNs - now) / 1e6) : 0;
    this.#ports.wakeAt(this.#ports.clock.wallMs() + restMs);
  }

  #level(): number {
    return this.state.irqPending & this.state.irqEnabled;
  }

  #update(): void {
    const level = this.#level();
    if (level === this.state.lineLevel) return;
    this.state.lineLevel = level;
    this.#ports.line.set(level === 1);
  }
}
