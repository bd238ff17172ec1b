/**
 * A slot's driver as Linux's pciehp is (drivers/pci/hotplug/pciehp_hpc.c and pciehp_ctrl.c, as read), without its delays:
 * what takes it five seconds of blinking happens when the test says that they are over.
 *
 *     off --button--> blinking on --over--> on --button--> blinking off --over--> off
 *     off --card or link came--> on              on --card or link went--> off
 */
import assert from 'node:assert/strict';
import type { AccessBytes } from '../device.ts';

/** Configuration accesses to the port. */
export interface PortAccess {
  read(at: number, bytes: AccessBytes): number;
  write(at: number, bytes: AccessBytes, value: number): void;
}

const EXPRESS = 0x10;
const AT = { linkStatus: 0x12, slotCapabilities: 0x14, control: 0x18, status: 0x1a } as const;
const EVENT = { button: 1, fault: 2, presence: 8, command: 0x10, link: 0x100 } as const;
const ENABLE = { button: 1, command: 0x10, interrupts: 0x20, link: 0x1000 } as const;
const POWER = { mask: 0x700, on: 0x100, blink: 0x200, off: 0x700 } as const;
const PRESENT = 0x40;
const LINK_ACTIVE = 0x2000;

export type SlotView = 'off' | 'blinking on' | 'on' | 'blinking off';

export class Pciehp {
  /** As the driver has it. */
  view: SlotView;
  /** What it did to the bus behind: `add`, `remove`, `surprise`. */
  readonly did: string[] = [];
  readonly #port: PortAccess;
  readonly #at: number;

  /** Loads: takes the slot as it is, and enables its events. */
  constructor(port: PortAccess) {
    this.#port = port;
    this.#at = this.#find();
    const capabilities = this.#read(AT.slotCapabilities, 4);
    assert.equal(capabilities & 0x5b, 0x5b, 'hot-plug capable, with button, power controller and both indicators');
    this.#port.write(this.#at + AT.status, 2, EVENT.button | EVENT.fault | EVENT.presence | EVENT.command);
    this.view = this.#isPowered && this.#isOccupied ? 'on' : 'off';
    if (!this.#isOccupied && this.#isPowered) this.#command(POWER.mask, POWER.off);
    this.#command(0xffff, this.#control | ENABLE.button | ENABLE.command | ENABLE.interrupts | ENABLE.link);
  }

  /** The port interrupted: the driver's handler and its thread. False: it was not the slot. */
  interrupt(): boolean {
    const events =
      this.#read(AT.status, 2) & (EVENT.button | EVENT.fault | EVENT.presence | EVENT.command | EVENT.link);
    if (events === 0) return false;
    this.#port.write(this.#at + AT.status, 2, events);
    if ((events & EVENT.button) !== 0) this.#pressed();
    if ((events & (EVENT.presence | EVENT.link)) !== 0) this.#changed();
    return true;
  }

  /** The five seconds after a press are over. */
  later(): void {
    if (this.view === 'blinking on') this.#enable();
    else if (this.view === 'blinking off') this.#disable('remove');
  }

  #pressed(): void {
    if (this.view === 'off' || this.view === 'on') {
      this.view = this.view === 'off' ? 'blinking on' : 'blinking off';
      this.#command(0x300, POWER.blink);
    } else {
      // Pressed again: taken back.
      this.view = this.view === 'blinking on' ? 'off' : 'on';
      this.#command(0x300, this.view === 'on' ? POWER.on : 0x300);
    }
  }

  /** A card or a link that was there is another one, or none; one that is there now is taken into use. */
  #changed(): void {
    if (this.view === 'on' || this.view === 'blinking off') this.#disable('surprise');
    if (this.#isOccupied || this.#isLinkUp) this.#enable();
  }

  #enable(): void {
    if (!this.#isOccupied && !this.#isLinkUp) {
      this.view = 'off';
      return;
    }
    this.#command(0x400, 0);
    assert.ok(this.#isLinkUp, 'the link comes up with the power');
    assert.notEqual(this.#read(AT.linkStatus, 2) & 0x3f0, 0, 'it has a width');
    // Changes up to here, which the power itself brought about among them, are no event to act upon.
    this.#port.write(this.#at + AT.status, 2, EVENT.presence | EVENT.link);
    this.did.push('add');
    this.#command(0x300, POWER.on);
    this.view = 'on';
  }

  #disable(how: string): void {
    this.did.push(how);
    this.#command(0x400, 0x400);
    // What the switching itself brought about is no event to act upon.
    this.#port.write(this.#at + AT.status, 2, EVENT.presence | EVENT.link);
    this.#command(0x300, 0x300);
    this.view = 'off';
  }

  /** Slot Control's bits of `mask`, and the wait until the command is completed. */
  #command(mask: number, bits: number): void {
    this.#port.write(this.#at + AT.status, 2, EVENT.command);
    this.#port.write(this.#at + AT.control, 2, (this.#control & ~mask) | (bits & mask));
    assert.equal(this.#read(AT.status, 2) & EVENT.command, EVENT.command, 'the command is completed');
  }

  get #control(): number {
    return this.#read(AT.control, 2);
  }

  get #isPowered(): boolean {
    return (this.#control & 0x400) === 0;
  }

  get #isOccupied(): boolean {
    return (this.#read(AT.status, 2) & PRESENT) !== 0;
  }

  get #isLinkUp(): boolean {
    return (this.#read(AT.linkStatus, 2) & LINK_ACTIVE) !== 0;
  }

  #read(at: number, bytes: AccessBytes): number {
    return this.#port.read(this.#at + at, bytes);
  }

  #find(): number {
    let at = this.#port.read(0x34, 1);
    for (let i = 0; i < 48 && this.#port.read(at, 1) !== EXPRESS; i++) at = this.#port.read(at + 1, 1);
    assert.equal(this.#port.read(at, 1), EXPRESS);
    return at;
  }
}
