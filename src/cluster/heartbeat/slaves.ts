/**
 * The slaves of this host's guests, as their master knows them by their beats, which never leave the host. A slave that
 * says nothing for a time is silent; how its guest is follows from that and from what it last said.
 */
import type { SlaveBeat } from '../ports.ts';
import { type Condition, Digest, type GuestDetail } from './digest.ts';

interface Slave {
  generation: number;
  condition: Condition;
  /** Beats are expected from then on: a guest that boots has its time. */
  expectedMs: number;
  role: 'active' | 'standby';
}

export class Slaves {
  readonly #slaves = new Map<string, Slave>();
  readonly digest = new Digest();
  notWell = 0;

  get count(): number {
    return this.#slaves.size;
  }

  /** A machine was started, or its guest again: it may be silent for `graceMs`. */
  expect(guest: string, generation: number, role: 'active' | 'standby', nowMs: number, graceMs: number): void {
    this.forget(guest);
    const slave: Slave = { generation, condition: 'starting', expectedMs: nowMs + graceMs, role };
    this.#slaves.set(guest, slave);
    this.#enter(guest, slave);
  }

  forget(guest: string): void {
    const slave = this.#slaves.get(guest);
    if (slave === undefined) return;
    this.#take(guest, slave);
    this.#slaves.delete(guest);
  }

  beat({ guest, generation, isApplicationWell, role }: SlaveBeat, nowMs: number, silentMs: number): void {
    const slave = this.#slaves.get(guest);
    if (slave === undefined || slave.generation !== generation) return;
    slave.expectedMs = nowMs + silentMs;
    slave.role = role;
    this.#be(guest, slave, isApplicationWell ? 'well' : 'application-failed');
  }

  /** The machine's process is gone. */
  gone(guest: string): void {
    const slave = this.#slaves.get(guest);
    if (slave !== undefined) this.#be(guest, slave, 'gone');
  }

  /** Those that have been silent for too long; `lateMs`: how long this process itself stood still since the last look. */
  look(nowMs: number, lateMs: number): void {
    for (const [guest, slave] of this.#slaves) {
      slave.expectedMs += lateMs;
      if (slave.condition !== 'gone' && nowMs > slave.expectedMs) this.#be(guest, slave, 'silent');
    }
  }

  conditionOf(guest: string): Condition | undefined {
    return this.#slaves.get(guest)?.condition;
  }

  roleOf(guest: string): 'active' | 'standby' | undefined {
    return this.#slaves.get(guest)?.role;
  }

  *details(): Generator<GuestDetail> {
    for (const [guest, { generation, condition }] of this.#slaves) yield { guest, generation, condition };
  }

  #be(guest: string, slave: Slave, condition: Condition): void {
    if (slave.condition === condition) return;
    this.#take(guest, slave);
    slave.condition = condition;
    this.#enter(guest, slave);
  }

  #enter(guest: string, slave: Slave): void {
    this.digest.toggle({ guest, ...slave });
    if (isBad(slave.condition)) this.notWell += 1;
  }

  #take(guest: string, slave: Slave): void {
    this.digest.toggle({ guest, ...slave });
    if (isBad(slave.condition)) this.notWell -= 1;
  }
}

function isBad(condition: Condition): boolean {
  return condition !== 'well' && condition !== 'starting';
}
