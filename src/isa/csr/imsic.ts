/**
 * CSRs through which a hart reaches the interrupt files of its IMSIC (AIA specification, chapter "Incoming MSI
 * Controller", sections "CSRs for external interrupts via an IMSIC" and behind): a window of one register, chosen by
 * miselect or siselect, and mtopei, stopei, which claim.
 *
 *     0x30-0x3e  iprio, even ones: read-only zero
 *     0x70       eidelivery        0x72  eithreshold      others to 0x7f: zero
 *     0x80-0xbe  eip, even ones    0xc0-0xfe  eie, even ones: zero beyond the identities that there are
 *
 * Others are illegal instructions, and so is the supervisor's file for S-mode while mvien makes SEI a virtual interrupt.
 *
 * Pending bits are set by other threads at any time: they are changed by atomic operations on the bits that an instruction
 * names. What follows drives the line: it is lowered, then the file is looked at, then it is raised if there is a reason.
 * Who sends a message sets its bit first and looks at the file then; so one of the two sees that the line must be high.
 */
import { EI_WORDS, FILE, FILE_WORD, FILE_WORDS, THRESHOLD_BITS } from '../interrupt-files.ts';
import type { Machine } from '../machine.ts';
import { INTERRUPT, SEIP } from '../privileged/causes.ts';
import { anyOf, inMode, MODE } from '../privileged/mstatus.ts';
import type { StateField } from '../state.ts';
import { type Csr, csr, type FeatureName, type Guard, register } from './csr.ts';

const SELECT_FIELDS = 'register[8:0]';
const PRIORITIES = 0x30;
const FIRST = 0x70;
const ARRAYS = 0x80;
const END = 0x100;
const EITHRESHOLD = 0x72;
const EIDELIVERY = 0x70;
/** Of a number in the arrays: eie, not eip. */
const IS_ENABLE = 0x40n;
const IDENTITY_SHIFT = 16;

/** A level's file, its line to the hart, and the CSR that selects a register. */
interface Level {
  readonly file: number;
  readonly line: bigint;
  readonly select: Extract<StateField, 'miselect' | 'siselect'>;
  readonly requires: FeatureName;
}

const MACHINE: Level = {
  file: FILE.machine,
  line: 1n << BigInt(INTERRUPT.machineExternal),
  select: 'miselect',
  requires: 'smaia',
};
const SUPERVISOR: Level = { file: FILE.supervisor, line: SEIP, select: 'siselect', requires: 'ssaia' };

function isFileRegister<V, C>(m: Machine<V, C>, select: V): C {
  return m.both(m.negate(m.ltu(select, m.const(FIRST))), m.ltu(select, m.const(END)));
}

/** The supervisor's file is not S-mode's to reach while its interrupt is a virtual one. */
function requireFile<V, C>(m: Machine<V, C>, level: Level, reaches: C): void {
  if (level !== SUPERVISOR) return;
  const isVirtual = m.both(inMode(m, MODE.supervisor), anyOf(m, m.state('mvien'), SEIP));
  m.require(m.negate(m.both(reaches, isVirtual)));
}

function windowGuard(level: Level): Guard {
  return (m) => {
    const select = m.let(m.state(level.select));
    const isEven = m.negate(anyOf(m, select, 1n));
    const isPriority = m.eq(m.and(select, m.const(~0xf)), m.const(PRIORITIES));
    const isFile = isFileRegister(m, select);
    const hasOdd = m.ltu(select, m.const(ARRAYS));
    m.require(m.either(m.both(isPriority, isEven), m.both(isFile, m.either(isEven, hasOdd))));
    requireFile(m, level, isFile);
  };
}

/** The word behind the register that is selected; `exists`: there is one, others are zero. */
function selected<V, C>(m: Machine<V, C>, { file, select }: Level): { word: V; exists: C; isArray: C } {
  const number = m.let(m.state(select));
  const isArray = m.negate(m.ltu(number, m.const(ARRAYS)));
  const inArray = m.let(m.srl(m.and(number, m.const(0x3e)), m.const(1)));
  const hasWord = m.ltu(inArray, m.const(EI_WORDS));
  const isDelivery = m.eq(number, m.const(EIDELIVERY));
  const isThreshold = m.eq(number, m.const(EITHRESHOLD));
  const array = m.select(anyOf(m, number, IS_ENABLE), m.const(FILE_WORD.eie), m.const(FILE_WORD.eip));
  const single = m.select(isDelivery, m.const(FILE_WORD.eidelivery), m.const(FILE_WORD.eithreshold));
  const exists = m.either(m.both(isArray, hasWord), m.either(isDelivery, isThreshold));
  const within = m.select(isArray, m.add(array, inArray), single);
  const word = m.let(m.add(m.const(file * FILE_WORDS), m.select(exists, within, m.const(0))));
  return { word, exists, isArray };
}

function readWindow<V, C>(m: Machine<V, C>, level: Level): V {
  const { word, exists } = selected(m, level);
  return m.select(exists, m.fileWord(word), m.const(0));
}

/** Bit 0 of eip and eie would be identity 0, which does not exist. */
function writeWindow<V, C>(m: Machine<V, C>, level: Level, value: V, changes: V): void {
  const { word, exists, isArray } = selected(m, level);
  const within = m.sub(word, m.const(level.file * FILE_WORDS));
  const isFirst = m.either(m.eq(within, m.const(FILE_WORD.eip)), m.eq(within, m.const(FILE_WORD.eie)));
  const inArray = m.select(isFirst, m.const(-2), m.const(-1));
  const single = m.select(m.eq(within, m.const(FILE_WORD.eidelivery)), m.const(1), m.const(THRESHOLD_BITS));
  const bits = m.let(m.and(changes, m.select(isArray, inArray, single)));
  m.when(exists, () => {
    m.setFileBits(word, m.and(value, bits));
    m.clearFileBits(word, m.and(m.not(value), bits));
    driveLine(m, level);
  });
}

/** The identity that is pending, enabled and within the threshold, the lowest one; 0: none. */
function topIdentity<V, C>(m: Machine<V, C>, file: number): V {
  const word = (index: number): V => m.fileWord(m.const(file * FILE_WORDS + index));
  let top = m.const(0);
  for (let i = EI_WORDS - 1; i >= 0; i--) {
    const waiting = m.let(m.and(word(FILE_WORD.eip + i), word(FILE_WORD.eie + i)));
    top = m.select(m.ne(waiting, m.const(0)), m.add(m.ctz(waiting), m.const(64 * i)), top);
  }
  const identity = m.let(top);
  const threshold = m.let(word(FILE_WORD.eithreshold));
  const isWithin = m.either(m.eq(threshold, m.const(0)), m.ltu(identity, threshold));
  return m.let(m.select(isWithin, identity, m.const(0)));
}

function driveLine<V, C>(m: Machine<V, C>, { file, line }: Level): void {
  m.clearBits('lines', m.const(line));
  const isDelivering = m.eq(m.fileWord(m.const(file * FILE_WORDS + FILE_WORD.eidelivery)), m.const(1));
  m.when(m.both(isDelivering, m.ne(topIdentity(m, file), m.const(0))), () => m.setBits('lines', m.const(line)));
  m.contextChanged();
}

function readTop<V, C>(m: Machine<V, C>, { file }: Level): V {
  const identity = topIdentity(m, file);
  return m.or(m.sll(identity, m.const(IDENTITY_SHIFT)), identity);
}

/** Claims what was read, though a more urgent message may have come since. */
function claim<V, C>(m: Machine<V, C>, level: Level, old: V): void {
  const identity = m.let(m.srl(old, m.const(IDENTITY_SHIFT)));
  m.when(m.ne(identity, m.const(0)), () => {
    const word = m.add(m.const(level.file * FILE_WORDS + FILE_WORD.eip), m.srl(identity, m.const(6)));
    m.clearFileBits(word, m.sll(m.const(1), identity));
  });
  driveLine(m, level);
}

const TOP_FIELDS = 'identity[26:16]=* priority[10:0]=*';

function rowsOf(level: Level, numbers: readonly [number, number, number], whose: string): readonly Csr[] {
  const letter = level.select.charAt(0);
  const { requires } = level;
  return [
    register(numbers[0], level.select, SELECT_FIELDS, `Register that ${letter}ireg is.`, { requires }),
    csr(
      numbers[1],
      `${letter}ireg`,
      'value[63:0]',
      `A register of the ${whose}'s interrupt file.`,
      (m) => readWindow(m, level),
      {
        requires,
        guard: windowGuard(level),
        write: (m, value, changes) => writeWindow(m, level, value, changes),
      },
    ),
    csr(
      numbers[2],
      `${letter}topei`,
      TOP_FIELDS,
      `The first external interrupt of the ${whose}'s file; a write claims it.`,
      (m) => readTop(m, level),
      {
        requires,
        guard: (m) => requireFile(m, level, m.eq(m.const(0), m.const(0))),
        write: (m, _value, _changes, old) => claim(m, level, old),
      },
    ),
  ];
}

export const IMSIC_CSRS: readonly Csr[] = [
  ...rowsOf(MACHINE, [0x350, 0x351, 0x35c], 'machine'),
  ...rowsOf(SUPERVISOR, [0x150, 0x151, 0x15c], 'supervisor'),
];
