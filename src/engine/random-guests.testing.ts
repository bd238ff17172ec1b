/**
 * What a random world (random-world.testing.ts) has beside where harts have the hypervisor extension: page tables of the
 * guest stage, and ways that lead into a guest. Guest-physical addresses are RAM's own, so that the page tables of the
 * host are the guest's, too; but some pages lie elsewhere, lack rights, or A and D.
 *
 *   120 to 123 the root (16 KiB)   124 on: tables below
 *
 * A way's words, behind those that all have: 96 hgatp, 104 vsstatus, 112 hstatus.
 */
import type { Random } from './random.testing.ts';

const ROOT = 120;
const BELOW = 124;
const MPV = 1n << 39n;
/** V R W X U A D. */
const ALL = 0xdfn;
const MODES = [
  { mode: 8n, levels: 3 },
  { mode: 9n, levels: 4 },
  { mode: 10n, levels: 5 },
] as const;

/** Lines of M-mode's handler: in front of where it sets what the way says, and where it has changed a page table. */
export const GUEST_WAYS = `
  addi t0, x0, 1
  slli t0, t0, 39
  csrc mstatus, t0
  ld t0, 16(t2)
  csrw vsatp, t0
  ld t0, 96(t2)
  csrw hgatp, t0
  ld t0, 104(t2)
  csrw vsstatus, t0
  ld t0, 112(t2)
  csrw hstatus, t0
`;
export const GUEST_FENCES = `
  hfence.gvma x0, x0
  hfence.vvma x0, x0
`;

export interface GuestWays {
  /** hgatp, and the physical addresses of the leaves. */
  readonly hgatp: bigint;
  readonly leaves: readonly bigint[];
  /** Whether a way leads into a guest, and its three words. */
  way(mode: bigint): { readonly mstatus: bigint; readonly words: readonly [bigint, bigint, bigint] };
}

export function randomGuests(
  random: Random,
  view: DataView,
  ram: {
    readonly base: number;
    readonly pages: number;
    readonly data: { readonly first: number; readonly pages: number };
  },
): GuestWays {
  const { mode, levels } = random.pick(MODES);
  const firstPpn = BigInt(ram.base / 4096);
  const word = (place: number, value: bigint): void => view.setBigUint64(place, BigInt.asUintN(64, value), true);
  let table = ROOT;
  let next = BELOW;
  for (let level = levels - 1; level > 0; level--) {
    const index = (ram.base / 4096 / 512 ** level) & (level === levels - 1 ? 2047 : 511);
    word(table * 4096 + index * 8, ((firstPpn + BigInt(next)) << 10n) | 1n);
    table = next++;
  }
  const leaves: bigint[] = [];
  for (let page = 0; page < ram.pages; page++) {
    const place = table * 4096 + page * 8;
    leaves.push(BigInt(ram.base + place));
    // Handlers, and what is in their way, are always found; tables can be written, their A and D set.
    const isData = page >= ram.data.first && page < ram.data.first + ram.data.pages;
    let target = page;
    let flags = ALL;
    if (isData && random.chance(0.15)) target = ram.data.first + random.below(ram.data.pages);
    if (page > 2 && random.chance(0.12)) flags = BigInt(random.word() & 0xff);
    if (random.chance(0.1)) flags &= ~0xc0n;
    word(place, ((firstPpn + BigInt(target)) << 10n) | flags);
  }
  const vmid = BigInt(random.below(3));
  const hgatp = (mode << 60n) | (vmid << 44n) | (firstPpn + BigInt(ROOT));
  const isBareSometimes = random.chance(0.2);
  return {
    hgatp,
    leaves,
    way: (privilege) => {
      const isGuest = privilege !== 3n && random.chance(0.6);
      const status = (random.wide() & 0xc_0122n) | BigInt(random.pick([0, 0x2000, 0x4000, 0x6000]));
      const host = random.wide() & (random.chance(0.8) ? 0x300n : 0x70_0380n);
      const root = isBareSometimes && random.chance(0.3) ? 0n : hgatp;
      return { mstatus: isGuest ? MPV : 0n, words: [root, status, host] };
    },
  };
}

/** Delegation to guests, and what they may. */
export function randomGuestState(random: Random, supervisorVector: bigint): Record<string, bigint> {
  return {
    medeleg: random.chance(0.4) ? 0n : random.wide() & 0xf0_b5ffn & ~0x200n,
    hedeleg: random.chance(0.4) ? 0n : random.wide() & 0xb1ffn,
    hideleg: random.wide() & 0x444n,
    vstvec: supervisorVector,
    henvcfg: (random.wide() & (3n << 61n)) | 0xf0n,
    hcounteren: 7n,
    mstateen0: random.chance(0.7) ? (1n << 64n) - 1n : 0n,
    hstateen0: random.chance(0.7) ? (1n << 64n) - 1n : 0n,
    htimedelta: random.wide(),
  };
}
