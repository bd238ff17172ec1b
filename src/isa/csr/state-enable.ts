/**
 * Smstateen: which state of extensions lower modes may access. Of what the bits stand for this hart has the environments
 * (henvcfg, senvcfg) and the lower modes' own state enables; sstateen has no bit that means anything here.
 *
 * A bit of hstateen reads zero where mstateen's is zero, and a guest's access is checked against both.
 */
import type { Machine } from '../machine.ts';
import { anyOf, hasFeature, inMode, isGuest, MODE } from '../privileged/mstatus.ts';
import { FEATURE } from '../state.ts';
import { type Csr, constant, csr, type Guard, register } from './csr.ts';

export const STATEEN = {
  /** hstateen and sstateen of the same number. */
  SE: 1n << 63n,
  /** henvcfg, senvcfg. */
  ENVCFG: 1n << 62n,
} as const;

const NUMBERS = [0, 1, 2, 3] as const;
type Number = (typeof NUMBERS)[number];
const WRITABLE: readonly bigint[] = [STATEEN.SE | STATEEN.ENVCFG, STATEEN.SE, STATEEN.SE, STATEEN.SE];
const FIELDS = ['SE0[63] ENVCFG[62]', 'SE1[63]', 'SE2[63]', 'SE3[63]'] as const;

/** Below M mstateen must allow it, or the instruction is illegal; for a guest hstateen, too, or it is a virtual one. */
export function stateEnabled(bit: bigint, number: Number = 0): Guard {
  return (m) => {
    m.when(hasFeature(m, FEATURE.smstateen), () => {
      m.require(m.either(inMode(m, MODE.machine), anyOf(m, m.state(`mstateen${number}`), bit)));
      m.when(isGuest(m), () => m.requireVirtual(anyOf(m, m.state(`hstateen${number}`), bit)));
    });
  };
}

/** henvcfg is there with the hypervisor extension alone; hstateen needs both. */
function guestEnables(number: Number): Guard {
  return (m) => {
    m.require(hasFeature(m, FEATURE.h));
    m.require(m.either(inMode(m, MODE.machine), anyOf(m, m.state(`mstateen${number}`), STATEEN.SE)));
  };
}

function writeGuests<V, C>(m: Machine<V, C>, number: Number, value: V): void {
  const writable = m.and(m.const(WRITABLE[number] ?? 0n), m.state(`mstateen${number}`));
  m.setState(`hstateen${number}`, m.and(value, writable));
}

export const STATE_ENABLE_CSRS: readonly Csr[] = NUMBERS.flatMap((n) => [
  constant(0x10c + n, `sstateen${n}`, 0n, 'State of extensions that user mode may access.', {
    requires: 'smstateen',
    guard: stateEnabled(STATEEN.SE, n),
  }),
  register(0x30c + n, `mstateen${n}`, FIELDS[n], 'State of extensions that lower modes may access.', {
    requires: 'smstateen',
  }),
  csr(
    0x60c + n,
    `hstateen${n}`,
    FIELDS[n],
    'State of extensions that guests may access.',
    (m) => m.and(m.state(`hstateen${n}`), m.state(`mstateen${n}`)),
    {
      requires: 'smstateen',
      guard: guestEnables(n),
      write: (m, value) => writeGuests(m, n, value),
    },
  ),
]);
