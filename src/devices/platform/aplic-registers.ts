/** The registers of an APLIC's domain as rows (AIA specification, section "Memory-mapped control region for an interrupt domain"). */
import { type Register, RegisterTable } from '../registers.ts';
import type { Aplic } from './aplic.ts';
import { MMSIADDRCFGH_MASK, SMSIADDRCFGH_MASK } from './msi-address.ts';

export const DOMAINCFG = { constant: 0x8000_0000, IE: 1 << 8, DM: 1 << 2 } as const;
/** D: delegated, to the child of that number; else SM, the source's mode. */
export const SOURCECFG = { D: 1 << 10, child: 0x3ff, SM: 7 } as const;
const IDC_BYTES = 32;

const messages = { says: 'delivery by messages', holds: (aplic: Aplic) => !aplic.isDirect };
const direct = { says: 'direct delivery', holds: (aplic: Aplic) => aplic.isDirect };
const rootMessages = {
  says: 'root domain, delivery by messages',
  holds: (aplic: Aplic) => !aplic.isDirect && aplic.isRoot,
};

type MsiField = Parameters<Aplic['setMsiAddress']>[0];

function msiRow(at: number, name: MsiField, mask: number, does: string): Register<Aplic> {
  return {
    at,
    bytes: 4,
    name,
    when: rootMessages,
    read: (aplic) => aplic.state[name],
    write: (aplic, value) => aplic.setMsiAddress(name, (value & mask) >>> 0),
    reset: 0,
    does,
  };
}

/** Bits of a word of sources that are written as one. */
function eachBit(word: number, value: number, act: (source: number) => void): void {
  for (let rest = value; rest !== 0; rest &= rest - 1) act(word * 32 + (31 - Math.clz32(rest & -rest)));
}

function words(at: number, name: string, count: number, does: string, row: Partial<Register<Aplic>>): Register<Aplic> {
  return { at, bytes: 4, name, array: { count, strideBytes: 4 }, reset: 0, does, read: () => 0, ...row };
}

function byNumber(
  at: number,
  name: string,
  does: string,
  act: (aplic: Aplic, source: number) => void,
): Register<Aplic> {
  return { at, bytes: 4, name, read: () => 0, write: act, reset: 0, does };
}

function idc(
  offset: number,
  name: string,
  harts: number,
  does: string,
  row: Partial<Register<Aplic>>,
): Register<Aplic> {
  const place = { at: 0x4000 + offset, bytes: 4, array: { count: harts, strideBytes: IDC_BYTES } } as const;
  return { ...place, name, when: direct, reset: 0, does, ...row };
}

const setPending = (aplic: Aplic, source: number): void => aplic.setPending(source, true);

/** `sources` and `words`: with source 0, which does not exist. */
export function aplicRegisters(harts: number, sources: number, wordCount: number): RegisterTable<Aplic> {
  const delivery = (field: Parameters<Aplic['setDelivery']>[1]): Partial<Register<Aplic>> => ({
    read: (aplic, hart) => aplic.state[field][hart] ?? 0,
    write: (aplic, value, hart) => aplic.setDelivery(hart, field, value),
  });
  return new RegisterTable<Aplic>([
    {
      at: 0,
      bytes: 4,
      name: 'domaincfg',
      read: (aplic) => (DOMAINCFG.constant | aplic.state.domaincfg | (aplic.isDirect ? 0 : DOMAINCFG.DM)) >>> 0,
      write: (aplic, value) => aplic.setDomain(value),
      does: 'IE: interrupts are delivered; DM: by messages (fixed)',
    },
    words(0x4, 'sourcecfg', sources - 1, 'source n + 1: its mode, or the child that it is delegated to', {
      read: (aplic, index) => aplic.readSource(index + 1),
      write: (aplic, value, index) => aplic.configureSource(index + 1, value),
    }),
    msiRow(0x1bc0, 'mmsiaddrcfg', 0xffff_ffff, 'where messages to machine level go: base page, low half'),
    msiRow(0x1bc4, 'mmsiaddrcfgh', MMSIADDRCFGH_MASK, 'L: locked; how harts are laid out; base page, high half'),
    msiRow(0x1bc8, 'smsiaddrcfg', 0xffff_ffff, 'where messages to supervisor level go: base page, low half'),
    msiRow(0x1bcc, 'smsiaddrcfgh', SMSIADDRCFGH_MASK, 'LHXS; base page, high half'),
    words(0x1c00, 'setip', wordCount, 'requests that wait; ones written set them', {
      read: (aplic, word) => aplic.pendingWord(word),
      write: (aplic, value, word) => eachBit(word, value, (source) => aplic.setPending(source, true)),
    }),
    byNumber(0x1cdc, 'setipnum', 'sets the request of a source', setPending),
    words(0x1d00, 'in_clrip', wordCount, 'rectified inputs; ones written clear requests', {
      read: (aplic, word) => aplic.rectifiedWord(word),
      write: (aplic, value, word) => eachBit(word, value, (source) => aplic.setPending(source, false)),
    }),
    byNumber(0x1ddc, 'clripnum', 'clears the request of a source', (aplic, source) => aplic.setPending(source, false)),
    words(0x1e00, 'setie', wordCount, 'sources that are enabled; ones written enable', {
      read: (aplic, word) => aplic.enabledWord(word),
      write: (aplic, value, word) => eachBit(word, value, (source) => aplic.setEnabled(source, true)),
    }),
    byNumber(0x1edc, 'setienum', 'enables a source', (aplic, source) => aplic.setEnabled(source, true)),
    words(0x1f00, 'clrie', wordCount, 'ones written disable', {
      write: (aplic, value, word) => eachBit(word, value, (source) => aplic.setEnabled(source, false)),
    }),
    byNumber(0x1fdc, 'clrienum', 'disables a source', (aplic, source) => aplic.setEnabled(source, false)),
    byNumber(0x2000, 'setipnum_le', 'as setipnum', setPending),
    byNumber(0x2004, 'setipnum_be', 'as setipnum, big-endian', (aplic, value) => setPending(aplic, swapped(value))),
    {
      at: 0x3000,
      bytes: 4,
      name: 'genmsi',
      when: messages,
      read: (aplic) => aplic.state.genmsi,
      write: (aplic, value) => aplic.generate(value),
      reset: 0,
      does: 'sends a message',
    },
    words(0x3004, 'target', sources - 1, 'source n + 1: its hart, and priority or guest and identity', {
      read: (aplic, index) => aplic.readTarget(index + 1),
      write: (aplic, value, index) => aplic.setTarget(index + 1, value),
    }),
    idc(0x0, 'idelivery', harts, 'hart n: interrupts are delivered', delivery('idelivery')),
    idc(0x4, 'iforce', harts, 'hart n: interrupts it, for tests', delivery('iforce')),
    idc(0x8, 'ithreshold', harts, 'hart n is interrupted by priorities below this', delivery('ithreshold')),
    idc(0x18, 'topi', harts, 'hart n: its most urgent source and priority', {
      read: (aplic, hart) => aplic.top(hart),
      write: () => {},
    }),
    idc(0x1c, 'claimi', harts, 'the same; reading claims it', {
      read: (aplic, hart) => aplic.claim(hart),
      write: () => {},
    }),
  ]);
}

function swapped(value: number): number {
  const reversed = (value >>> 24) | ((value >>> 8) & 0xff00) | ((value << 8) & 0xff_0000) | (value << 24);
  return reversed >>> 0;
}
