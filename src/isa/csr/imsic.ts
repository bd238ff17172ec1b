/**
 * CSRs through which a hart reaches the interrupt files of its IMSIC (AIA specification, chapter "Incoming MSI
 * Controller", sections "CSRs for external interrupts via an IMSIC" and behind): a window of one register, chosen by
 * miselect, siselect or vsiselect, and mtopei, stopei, vstopei, which claim. For a guest the supervisor's are VS-mode's, and
 * its file is the one that hstatus.VGEIN names.
 *
 *     0x30-0x3e  iprio, even ones: read-only zero; inaccessible at VS level
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
import { guestFile, guestFileAt, topIdentity } from '../privileged/guest-top.ts';
import {
  anyOf,
  hasFeature,
  inMode,
  isGuest,
  MODE,
  requireHypervisor,
  requireSupervisor,
} from '../privileged/mstatus.ts';
import { FEATURE } from '../state.ts';
import { type Csr, csr, type FeatureName, type Guard, register } from './csr.ts';
import { STATEEN, stateEnabled } from './state-enable.ts';

/** VS-mode's CSRs are there where both extensions are. */
export const requireSsaia: Guard = (m) => m.require(hasFeature(m, FEATURE.ssaia));

const SELECT_FIELDS = 'register[8:0]';
const SELECT_BITS = 0x1ff;
const PRIORITIES = 0x30;
const FIRST = 0x70;
const ARRAYS = 0x80;
const END = 0x100;
const EITHRESHOLD = 0x72;
const EIDELIVERY = 0x70;
/** Of a number in the arrays: eie, not eip. */
const IS_ENABLE = 0x40n;
const IDENTITY_SHIFT = 16;
const MEIP = 1n << BigInt(INTERRUPT.machineExternal);

type Level = 'machine' | 'supervisor' | 'guest';

/** Runs one for guests (at supervisor level, while V is 1), or the other. */
function byOwner<V, C>(m: Machine<V, C>, level: Level, forGuest: () => void, forHost: () => void): void {
  if (level === 'guest') forGuest();
  else if (level === 'machine') forHost();
  else m.when(isGuest(m), forGuest, forHost);
}

/** Of two values the one for guests, or the other. */
function ofOwner<V, C>(m: Machine<V, C>, level: Level, forGuest: () => V, forHost: () => V): V {
  if (level === 'guest') return m.let(forGuest());
  if (level === 'machine') return m.let(forHost());
  return m.let(m.select(isGuest(m), forGuest(), forHost()));
}

function selectOf<V, C>(m: Machine<V, C>, level: Level): V {
  const host = level === 'machine' ? 'miselect' : 'siselect';
  return ofOwner(
    m,
    level,
    () => m.state('vsiselect'),
    () => m.state(host),
  );
}

/** Index of the first word of the level's file. */
function fileAt<V, C>(m: Machine<V, C>, level: Level): V {
  const host = level === 'machine' ? FILE.machine : FILE.supervisor;
  return ofOwner(
    m,
    level,
    () => guestFileAt(m, guestFile(m)),
    () => m.const(host * FILE_WORDS),
  );
}

function isFileRegister<V, C>(m: Machine<V, C>, select: V): C {
  return m.both(m.negate(m.ltu(select, m.const(FIRST))), m.ltu(select, m.const(END)));
}

function isPriorityRegister<V, C>(m: Machine<V, C>, select: V): C {
  return m.eq(m.and(select, m.const(~0xf)), m.const(PRIORITIES));
}

/** Of file registers: odd ones in the arrays do not exist. */
function isWhole<V, C>(m: Machine<V, C>, select: V): C {
  return m.either(m.negate(anyOf(m, select, 1n)), m.ltu(select, m.const(ARRAYS)));
}

/** The supervisor's file is not S-mode's to reach while its interrupt is a virtual one. */
function requireFile<V, C>(m: Machine<V, C>, reaches: C): void {
  stateGuard(m, reaches, STATEEN.IMSIC);
  const isVirtual = m.both(inMode(m, MODE.supervisor), anyOf(m, m.state('mvien'), SEIP));
  m.require(m.negate(m.both(reaches, isVirtual)));
}

function stateGuard<V, C>(m: Machine<V, C>, applies: C, bit: bigint): void {
  m.when(applies, () => stateEnabled(bit)(m));
}

/** In VS-mode what the guest's file has; what it has not is a virtual instruction, what is reserved an illegal one. */
function requireGuestWindow<V, C>(m: Machine<V, C>): void {
  requireSupervisor(m);
  const select = m.let(m.state('vsiselect'));
  const isFile = isFileRegister(m, select);
  m.require(m.either(isFile, isPriorityRegister(m, select)));
  stateGuard(m, isFile, STATEEN.IMSIC);
  m.requireVirtual(m.both(isFile, m.both(m.ne(guestFile(m), m.const(0)), isWhole(m, select))));
}

function requireHostWindow<V, C>(m: Machine<V, C>, level: 'machine' | 'supervisor'): void {
  const select = selectOf(m, level);
  const isFile = isFileRegister(m, select);
  const isPriority = isPriorityRegister(m, select);
  if (level === 'supervisor') stateGuard(m, isPriority, STATEEN.AIA);
  const isEven = m.negate(anyOf(m, select, 1n));
  m.require(m.either(m.both(isPriority, isEven), m.both(isFile, isWhole(m, select))));
  if (level === 'supervisor') requireFile(m, isFile);
}

const windowGuards: Readonly<Record<Level, Guard>> = {
  machine: (m) => requireHostWindow(m, 'machine'),
  supervisor: (m) => {
    stateEnabled(STATEEN.CSRIND)(m);
    m.when(
      isGuest(m),
      () => requireGuestWindow(m),
      () => requireHostWindow(m, 'supervisor'),
    );
  },
  guest: (m) => {
    stateEnabled(STATEEN.CSRIND)(m);
    requireHypervisor(m);
    requireGuestWindow(m);
  },
};

const topGuards: Readonly<Record<Level, Guard>> = {
  machine: () => {},
  supervisor: (m) => {
    m.when(
      isGuest(m),
      () => {
        stateEnabled(STATEEN.IMSIC)(m);
        requireSupervisor(m);
        m.requireVirtual(m.ne(guestFile(m), m.const(0)));
      },
      () => requireFile(m, m.eq(m.const(0), m.const(0))),
    );
  },
  guest: (m) => {
    stateEnabled(STATEEN.IMSIC)(m);
    requireHypervisor(m);
    m.require(m.ne(guestFile(m), m.const(0)));
  },
};

/** The word of the file that is selected; `exists`: there is one, others are zero. */
function selected<V, C>(m: Machine<V, C>, level: Level): { within: V; exists: C; isArray: C } {
  const number = selectOf(m, level);
  const isArray = m.negate(m.ltu(number, m.const(ARRAYS)));
  const inArray = m.let(m.srl(m.and(number, m.const(0x3e)), m.const(1)));
  const hasWord = m.ltu(inArray, m.const(EI_WORDS));
  const isDelivery = m.eq(number, m.const(EIDELIVERY));
  const isThreshold = m.eq(number, m.const(EITHRESHOLD));
  const array = m.select(anyOf(m, number, IS_ENABLE), m.const(FILE_WORD.eie), m.const(FILE_WORD.eip));
  const single = m.select(isDelivery, m.const(FILE_WORD.eidelivery), m.const(FILE_WORD.eithreshold));
  const exists = m.either(m.both(isArray, hasWord), m.either(isDelivery, isThreshold));
  const within = m.let(m.select(exists, m.select(isArray, m.add(array, inArray), single), m.const(0)));
  return { within, exists, isArray };
}

function readWindow<V, C>(m: Machine<V, C>, level: Level): V {
  const { within, exists } = selected(m, level);
  return m.select(exists, m.fileWord(m.add(fileAt(m, level), within)), m.const(0));
}

/** Bit 0 of eip and eie would be identity 0, which does not exist. */
function writeWindow<V, C>(m: Machine<V, C>, level: Level, value: V, changes: V): void {
  const { within, exists, isArray } = selected(m, level);
  const isFirst = m.either(m.eq(within, m.const(FILE_WORD.eip)), m.eq(within, m.const(FILE_WORD.eie)));
  const inArray = m.select(isFirst, m.const(-2), m.const(-1));
  const single = m.select(m.eq(within, m.const(FILE_WORD.eidelivery)), m.const(1), m.const(THRESHOLD_BITS));
  const bits = m.let(m.and(changes, m.select(isArray, inArray, single)));
  const word = m.let(m.add(fileAt(m, level), within));
  m.when(exists, () => {
    m.setFileBits(word, m.and(value, bits));
    m.clearFileBits(word, m.and(m.not(value), bits));
    driveLine(m, level);
  });
}

/** Whether the file there has something to say to the hart. */
function isSignalling<V, C>(m: Machine<V, C>, first: V): C {
  const isDelivering = m.eq(m.fileWord(m.add(first, m.const(FILE_WORD.eidelivery))), m.const(1));
  return m.both(isDelivering, m.ne(topIdentity(m, first), m.const(0)));
}

function driveLine<V, C>(m: Machine<V, C>, level: Level): void {
  const drive = (field: 'lines' | 'hgeip', bit: V, first: V): void => {
    m.clearBits(field, bit);
    m.when(isSignalling(m, first), () => m.setBits(field, bit));
  };
  const [file, line] = level === 'machine' ? [FILE.machine, MEIP] : [FILE.supervisor, SEIP];
  byOwner(
    m,
    level,
    () => {
      const guest = guestFile(m);
      drive('hgeip', m.let(m.sll(m.const(1), guest)), guestFileAt(m, guest));
    },
    () => drive('lines', m.const(line), m.const(file * FILE_WORDS)),
  );
  m.contextChanged();
}

function readTop<V, C>(m: Machine<V, C>, level: Level): V {
  const identity = topIdentity(m, fileAt(m, level));
  return m.or(m.sll(identity, m.const(IDENTITY_SHIFT)), identity);
}

/** Claims what was read, though a more urgent message may have come since. */
function claim<V, C>(m: Machine<V, C>, level: Level, old: V): void {
  const identity = m.let(m.srl(old, m.const(IDENTITY_SHIFT)));
  const first = fileAt(m, level);
  m.when(m.ne(identity, m.const(0)), () => {
    const word = m.add(m.add(first, m.const(FILE_WORD.eip)), m.srl(identity, m.const(6)));
    m.clearFileBits(word, m.sll(m.const(1), identity));
  });
  driveLine(m, level);
}

const TOP_FIELDS = 'identity[26:16]=* priority[10:0]=*';

interface Names {
  readonly level: Level;
  readonly prefix: string;
  readonly whose: string;
  readonly numbers: readonly [select: number, ireg: number, topei: number];
}

function rowsOf({ level, prefix, whose, numbers }: Names): readonly Csr[] {
  const requires: FeatureName = level === 'machine' ? 'smaia' : level === 'supervisor' ? 'ssaia' : 'h';
  /** VS-mode's need both. */
  const both = (guard: Guard): Guard =>
    level === 'guest'
      ? (m) => {
          requireSsaia(m);
          guard(m);
        }
      : guard;
  return [
    selectRow(level, numbers[0], both),
    csr(
      numbers[1],
      `${prefix}ireg`,
      'value[63:0]',
      `A register of ${whose} interrupt file.`,
      (m) => readWindow(m, level),
      {
        requires,
        guard: both(windowGuards[level]),
        write: (m, value, changes) => writeWindow(m, level, value, changes),
      },
    ),
    csr(
      numbers[2],
      `${prefix}topei`,
      TOP_FIELDS,
      `The first external interrupt of ${whose} file; a write claims it.`,
      (m) => readTop(m, level),
      {
        requires,
        guard: both(topGuards[level]),
        write: (m, _value, _changes, old) => claim(m, level, old),
      },
    ),
  ];
}

function selectRow(level: Level, number: number, both: (guard: Guard) => Guard): Csr {
  const summary = 'Register that the window shows.';
  if (level === 'machine') return register(number, 'miselect', SELECT_FIELDS, summary, { requires: 'smaia' });
  if (level === 'guest')
    return register(number, 'vsiselect', SELECT_FIELDS, summary, {
      requires: 'h',
      guard: both(stateEnabled(STATEEN.CSRIND)),
    });
  return csr(number, 'siselect', SELECT_FIELDS, summary, (m) => selectOf(m, level), {
    requires: 'ssaia',
    guard: stateEnabled(STATEEN.CSRIND),
    write: (m, value) => {
      const kept = m.let(m.and(value, m.const(SELECT_BITS)));
      m.when(
        isGuest(m),
        () => m.setState('vsiselect', kept),
        () => m.setState('siselect', kept),
      );
    },
  });
}

export const IMSIC_CSRS: readonly Csr[] = [
  ...rowsOf({ level: 'machine', prefix: 'm', whose: "the machine's", numbers: [0x350, 0x351, 0x35c] }),
  ...rowsOf({ level: 'supervisor', prefix: 's', whose: "the supervisor's", numbers: [0x150, 0x151, 0x15c] }),
  ...rowsOf({ level: 'guest', prefix: 'vs', whose: "VS-mode's", numbers: [0x250, 0x251, 0x25c] }),
];
