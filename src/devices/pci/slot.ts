/**
 * The slot of a root port: a card that comes and goes while the machine runs (PCI Express Base 6.0, sections 6.7 and
 * 7.5.3.9 to 7.5.3.11). It has an attention button, a power controller, two indicators and an interlock, as QEMU's has,
 * and reports changes of presence and of the link. Linux's pciehp drives it.
 *
 *     plug              card in, button pressed       guest: power on, link up, finds the functions
 *     requestRemoval    button pressed                guest: lets the driver go, power off; then the card is out
 *     remove            card out, unasked             guest: link down, the functions are gone
 *
 * Deviation: QEMU takes a card out whenever the guest switches its power off; here it stays, and can be switched on again,
 * unless its removal was requested. And QEMU has no events of the link's state, which a port that reports it must have.
 */
import { assert } from '../../base/assert.ts';
import { struct, type View } from '../../base/struct.ts';
import type { ConfigRow, ConfigSpace, ResetDepth } from './config-space.ts';
import { EXPRESS, INDICATOR, SLOT_CAPABILITIES, SLOT_CONTROL, SLOT_EVENT, SLOT_STATUS } from './spec.ts';

const fields = {
  /** 1: there is a card. */
  present: 'u32',
  /** 1: its removal was requested. */
  removing: 'u32',
  /** 1: the guest resets the bus behind the port. */
  inReset: 'u32',
  /** 1: the link was up when last looked at. */
  linkUp: 'u32',
  /** 1: an enabled event waits for the guest. */
  interrupting: 'u32',
  plugs: 'u32',
  removals: 'u32',
} as const;

export const slotLayout = struct('pci-slot', fields);
export type SlotState = View<typeof fields>;

export interface SlotPorts {
  readonly state: SlotState;
  /** The port's configuration space, in which the slot's registers are. */
  config(): ConfigSpace;
  /** Whether an enabled event waits: a level, and the moment at which it begins. */
  interrupt(level: boolean, begins: boolean): void;
  /** The card was cut off, or comes to life: what is on it forgets everything. */
  resetCard(depth: ResetDepth): void;
  /** Who can be reached has changed. */
  linkChanged(): void;
}

/** What the guest shows the operator. */
export type Indicator = keyof typeof INDICATOR;

const INDICATORS_OFF =
  (INDICATOR.off << SLOT_CONTROL.attentionIndicatorShift) | (INDICATOR.off << SLOT_CONTROL.powerIndicatorShift);
const ALL_EVENTS =
  SLOT_EVENT.attentionButton | SLOT_EVENT.presence | SLOT_EVENT.commandCompleted | SLOT_STATUS.linkStateChanged;
const WRITABLE =
  SLOT_EVENT.attentionButton |
  SLOT_EVENT.presence |
  SLOT_EVENT.commandCompleted |
  SLOT_CONTROL.interruptEnable |
  (3 << SLOT_CONTROL.attentionIndicatorShift) |
  (3 << SLOT_CONTROL.powerIndicatorShift) |
  SLOT_CONTROL.powerOff |
  SLOT_CONTROL.interlock |
  SLOT_CONTROL.linkStateEnable;
const MOST_SLOT_NUMBER = 0x1fff;

/** All calls with the port's lock. */
export class Slot {
  readonly #ports: SlotPorts;
  /** The physical slot's, as the guest shows it. */
  readonly number: number;
  #at = 0;

  constructor(number: number, ports: SlotPorts) {
    assert(Number.isInteger(number) && number >= 0 && number <= MOST_SLOT_NUMBER, `no slot can have number ${number}`);
    this.number = number;
    this.#ports = ports;
  }

  /** Its registers; the PCI Express capability lies at `at`. */
  rows(at: number): ConfigRow[] {
    this.#at = at;
    const { attentionButton, powerController, attentionIndicator, powerIndicator, surprise, hotPlug, interlock } =
      SLOT_CAPABILITIES;
    const features =
      attentionButton | powerController | attentionIndicator | powerIndicator | surprise | hotPlug | interlock;
    return [
      {
        ...{ at: at + EXPRESS.slotCapabilities, bytes: 4, name: 'Slot Capabilities' },
        reset: (features | (this.number << SLOT_CAPABILITIES.numberShift)) >>> 0,
        does: 'button, power controller, indicators, interlock; hot-plug, surprise; number',
      },
      {
        ...{ at: at + EXPRESS.slotControl, bytes: 2, name: 'Slot Control', reset: INDICATORS_OFF, writable: WRITABLE },
        wrote: (value, before) => this.#controlled(value, before),
        does: 'enables events; indicators, power, interlock',
      },
      {
        ...{ at: at + EXPRESS.slotStatus, bytes: 2, name: 'Slot Status', clears: ALL_EVENTS },
        read: (stored) => (this.isPresent ? stored | SLOT_STATUS.presence : stored),
        wrote: () => this.#signal(),
        does: 'events; whether there is a card; interlock',
      },
    ];
  }

  /** Power-on of the machine, with the card in or not. After the registers' reset. An empty slot has no power. */
  reset(hasCard: boolean): void {
    const at = this.#at + EXPRESS.slotControl;
    this.#ports.config().set(at, 2, INDICATORS_OFF | (hasCard ? 0 : SLOT_CONTROL.powerOff));
    Object.assign(this.#ports.state, { present: hasCard ? 1 : 0, removing: 0, inReset: 0, interrupting: 0 });
    Object.assign(this.#ports.state, { linkUp: this.isUp ? 1 : 0, plugs: 0, removals: 0 });
    this.#ports.linkChanged();
  }

  get counters(): { plugs: number; removals: number } {
    const { plugs, removals } = this.#ports.state;
    return { plugs, removals };
  }

  get isPresent(): boolean {
    return this.#ports.state.present !== 0;
  }

  /** The guest was asked to let the card go and has not done so yet. */
  get isRemoving(): boolean {
    return this.#ports.state.removing !== 0;
  }

  get isPowered(): boolean {
    return (this.#control & SLOT_CONTROL.powerOff) === 0;
  }

  /** Functions on the card can be reached. */
  get isUp(): boolean {
    return this.isPresent && this.isPowered && this.#ports.state.inReset === 0;
  }

  get attentionIndicator(): Indicator {
    return indicator(this.#control >> SLOT_CONTROL.attentionIndicatorShift);
  }

  get powerIndicator(): Indicator {
    return indicator(this.#control >> SLOT_CONTROL.powerIndicatorShift);
  }

  /** Puts the card in and presses the button. False: there is one. */
  plug(): boolean {
    if (this.isPresent) return false;
    const { state } = this.#ports;
    state.present = 1;
    state.removing = 0;
    state.plugs++;
    this.#ports.resetCard('power');
    this.#happened(SLOT_EVENT.presence | SLOT_EVENT.attentionButton);
    return true;
  }

  /** Presses the button, so that the guest lets the card go. A card without power goes at once. False: there is none. */
  requestRemoval(): boolean {
    if (!this.isPresent) return false;
    if (!this.isPowered) return this.remove();
    this.#ports.state.removing = 1;
    this.#happened(SLOT_EVENT.attentionButton);
    return true;
  }

  /** Pulls the card out, whatever the guest does with it. False: there is none. */
  remove(): boolean {
    if (!this.isPresent) return false;
    const { state } = this.#ports;
    state.present = state.removing = 0;
    state.removals++;
    this.#ports.resetCard('power');
    this.#happened(SLOT_EVENT.presence);
    return true;
  }

  /** Bridge Control's Secondary Bus Reset: the card is in reset while it is set. */
  setReset(level: boolean): void {
    const { state } = this.#ports;
    if ((state.inReset !== 0) === level) return;
    state.inReset = level ? 1 : 0;
    if (level) this.#ports.resetCard('function');
    this.#happened(0);
  }

  /** After a reset of the port alone, or a restore: what its registers say now. */
  update(): void {
    this.#happened(0);
  }

  get #control(): number {
    return this.#ports.config().get(this.#at + EXPRESS.slotControl, 2);
  }

  #controlled(value: number, before: number): void {
    const config = this.#ports.config();
    if ((value & SLOT_CONTROL.interlock) !== 0) {
      // A one written toggles the interlock; the bit reads as zero.
      config.set(this.#at + EXPRESS.slotControl, 2, value & ~SLOT_CONTROL.interlock);
      const at = this.#at + EXPRESS.slotStatus;
      config.set(at, 2, config.get(at, 2) ^ SLOT_STATUS.interlock);
    }
    const switchedOff = (value & ~before & SLOT_CONTROL.powerOff) !== 0;
    if (switchedOff && this.isPresent) {
      if (this.isRemoving) this.remove();
      else this.#ports.resetCard('power');
    }
    this.#happened(SLOT_EVENT.commandCompleted);
  }

  /** Reports events, and a change of the link that came with them. */
  #happened(events: number): void {
    const { state } = this.#ports;
    const isUp = this.isUp ? 1 : 0;
    const changed = isUp !== state.linkUp;
    state.linkUp = isUp;
    const all = events | (changed ? SLOT_STATUS.linkStateChanged : 0);
    const at = this.#at + EXPRESS.slotStatus;
    const config = this.#ports.config();
    if (all !== 0) config.set(at, 2, config.get(at, 2) | all);
    if (changed) this.#ports.linkChanged();
    this.#signal();
  }

  /** Interrupts while an enabled event waits (section 6.7.3.4). */
  #signal(): void {
    const { state } = this.#ports;
    const control = this.#control;
    const status = this.#ports.config().get(this.#at + EXPRESS.slotStatus, 2);
    const link = (status & SLOT_STATUS.linkStateChanged) !== 0 && (control & SLOT_CONTROL.linkStateEnable) !== 0;
    const waits = link || (status & control & SLOT_STATUS.events) !== 0;
    const level = waits && (control & SLOT_CONTROL.interruptEnable) !== 0;
    const begins = level && state.interrupting === 0;
    state.interrupting = level ? 1 : 0;
    this.#ports.interrupt(level, begins);
  }
}

function indicator(bits: number): Indicator {
  if ((bits & 3) === INDICATOR.on) return 'on';
  return (bits & 3) === INDICATOR.blink ? 'blink' : 'off';
}
