/**
 * Decoded code: for each frame that was executed, a page of decoded entries, one for each two bytes. Entries are
 * filled when first reached, and emptied when their bytes are written: writes to such frames take the slow path
 * (memory-access.ts), so a stale entry is never executed by the hart that wrote, and self-modifying code costs one
 * decode for each instruction changed, not a page.
 *
 *   decoded page:  header (where its bytes lie, links to regions) | 2048 entries | sentinel, sentinel | cover
 *
 * The bytes are those of the guest's frame, or of an overlay that stands in for it (overlay-code.ts).
 */
import type { FunctionBuilder, I32, I64, Local, ModuleBuilder, Ptr } from '../wasm/index.ts';
import type { DecodeTables } from './decode-tables.ts';
import { defineDecodedPage, defineNoteCode } from './decoded-page.ts';
import { ACCESS, DECODED_COVER, decodedHeader, headerLayout, OVERLAY_STATE, PLAN, RECORD, USE } from './memory-plan.ts';
import { ENTRY, OVERLAY_ENTRY, SPECIAL } from './operations.ts';
import { headerOf } from './overlay-code.ts';
import { defineSubstitutes, overlayEntry } from './overlay-decode.ts';
import { countWrite, endQuiet, isQuiet } from './quiet-code.ts';
import { firstPlace } from './translation-buffers.ts';
import { vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;
const head = decodedHeader.offset;
const SENTINEL = SPECIAL.pageEnd;

/**
 * code_written(vcpu, host address, bytes): empties the entries whose instructions include any of these bytes. written: the
 * same, and page tables that are tracked take note.
 */
export function defineWritten(module: ModuleBuilder, library: Library): void {
  const P = module.pointerType;
  const declare = library.declarer(module);
  // track_written(vcpu, host address, bytes): see shadow-tracking.ts.
  const tracked = declare('track_written', [P, P, 'i32'], []);
  const noteCode = declare('note_code', [P, P, P], []);
  const code = module.function('code_written', [P, P, 'i32'], [], (f) => {
    const { i32 } = f;
    const address = f.param<Ptr>(1).get;
    const vcpu = f.param<Ptr>(0).get;
    const slot = f.ptr.op('shl', f.ptr.op('shr_u', address, f.ptr.const(12)), f.ptr.const(2));
    const decoded = f.let(f.ptr.from32(i32.load(slot, PLAN.frameTable)));
    f.if(f.ptr.eqz(decoded), () => f.return(), undefined, 'likely');
    f.if(isQuiet(f, decoded), () => f.return());
    const offset = f.let(i32.and(f.ptr.to32(address), i32.const(4095)));
    // From the instruction that starts two bytes before to the one at the last byte.
    const first = f.let(
      i32.shrU(i32.sub(f.select(i32.ltU(offset, i32.const(2)), i32.const(2), offset), i32.const(2)), i32.const(1)),
    );
    const last = i32.shrU(i32.sub(i32.add(offset, f.param<I32>(2).get), i32.const(1)), i32.const(1));
    const bytes = i32.shl(i32.add(i32.sub(last, first), i32.const(1)), i32.const(3));
    f.memoryFill(f.ptr.add(decoded, f.ptr.from32(i32.shl(first, i32.const(3)))), i32.const(0), f.ptr.from32(bytes));
    f.if(
      i32.load(headerOf(f, decoded), head.overlays),
      () => f.call(library.get('drop_overlays'), f.param<Ptr>(0).get, decoded),
      undefined,
      'unlikely',
    );
    // Regions made of these bytes go, too; most pages have none. The fence pairs with the one of whoever makes a
    // region: it sees these bytes, or its cover is seen here.
    f.atomicFence();
    f.if(i32.load(headerOf(f, decoded), head.links), () => {
      const half = f.local('i32');
      f.set(half, i32.shrU(offset, i32.const(1)));
      f.while(
        () => i32.leU(half.get, f.let(last)),
        () => {
          const byte = i32.load8U(f.ptr.add(decoded, f.ptr.from32(i32.shrU(half.get, i32.const(3)))), DECODED_COVER);
          f.if(i32.and(i32.shrU(byte, i32.and(half.get, i32.const(7))), i32.const(1)), () => {
            f.call(library.get('drop_regions'), f.param<Ptr>(0).get, decoded);
            f.return();
          });
          f.set(half, i32.add(half.get, i32.const(1)));
        },
      );
    });
    countWrite(f, vcpu, decoded, { dropRegions: library.get('drop_regions'), noteCode });
  });
  library.set('code_written', code);
  const ref = module.function('written', [P, P, 'i32'], [], (f) => {
    const [vcpu, address, bytes] = [f.param<Ptr>(0).get, f.param<Ptr>(1).get, f.param<I32>(2).get];
    f.if(f.i32.load(vcpu, at.shadowModel), () => f.call(tracked, vcpu, address, bytes), undefined, 'unlikely');
    f.call(code, vcpu, address, bytes);
  });
  library.set('written', ref);
}

export function defineCodePages(module: ModuleBuilder, library: Library, tables: DecodeTables): void {
  const P = module.pointerType;
  const host = library.get('host_address');

  // decode_bits(bits): the entry of an instruction word (16-bit ones in the low half), general form.
  const decodeBits = module.function('decode_bits', ['i32'], ['i64'], (f) => defineDecodeBits(f, tables, 'own'));
  // decode_emulated(bits): the same, where the hart has what is emulated for it, too.
  const decodeEmulated = library.emulates
    ? module.function('decode_emulated', ['i32'], ['i64'], (f) => defineDecodeBits(f, tables, 'emulation'))
    : decodeBits;
  library.set('decode_bits', decodeBits);
  library.set('decode_emulated', decodeEmulated);
  defineSubstitutes(module, library);
  const policyOf = library.get('policy_of');
  const codeHalf = library.get('code_half');
  const applyRecord = library.get('apply_record');

  const noteCode = library.get('note_code');
  module.define(noteCode, (f) => defineNoteCode(f, library.get('forget_writers')));

  // decode(vcpu, entry address, pc): fills the entry of the instruction at pc.
  library.set(
    'decode',
    module.function('decode', [P, P, 'i64'], [], (f) => {
      const { i32, i64 } = f;
      const slot = f.param<Ptr>(1).get;
      const offset = f.let(i32.and(f.convert('i32_wrap_i64', f.param<I64>(2).get), i32.const(4095)));
      const page = f.let(f.ptr.op('sub', slot, f.ptr.from32(i32.shl(offset, i32.const(2)))));
      const header = f.let(headerOf(f, page));
      const isOverlay = f.let(i32.eqz(f.ptr.eqz(f.ptr.load(header, head.records))));
      const from = f.let(f.ptr.add(f.ptr.load(header, head.frame), f.ptr.from32(offset)));
      const bits = f.local('i32');
      const entry = f.local('i64');
      f.loop((again) => {
        endQuiet(f, f.param<Ptr>(0).get, page, noteCode);
        f.set(bits, f.call(codeHalf, header, offset) as I32);
        const isLong = f.let(i32.eq(i32.and(bits.get, i32.const(3)), i32.const(3)));
        f.if(
          i32.and(isLong, i32.eq(offset, i32.const(4094))),
          () => f.set(entry, i64.const(SPECIAL.straddle)),
          () => {
            f.if(isLong, () => {
              const upper = f.call(codeHalf, header, i32.add(offset, i32.const(2))) as I32;
              f.set(bits, i32.or(bits.get, i32.shl(upper, i32.const(16))));
            });
            f.set(entry, f.call(decodeBits, bits.get) as I64);
            f.if(f.call(policyOf, entry.get) as I32, () => f.set(entry, overlayEntry(f, OVERLAY_ENTRY.trapped)));
            nearForm(f, entry, offset);
          },
        );
        f.if(
          isOverlay,
          () => {
            const record = f.let(f.call(library.get('record_at'), header, offset) as Ptr);
            f.if(i32.eqz(f.ptr.eqz(record)), () =>
              substitutedForm(f, library, { entry, record, bits: bits.get, offset }),
            );
          },
          () => breakpointForm(f, entry, from),
          'unlikely',
        );
        f.atomicStore(slot, 0, entry.get);
        // Somebody may have dropped the overlay meanwhile, or written the bytes, or made the page quiet, and emptied the
        // entry before it was filled.
        f.if(
          isOverlay,
          () => {
            const isLive = i32.eq(f.atomicLoad('i32', header, head.state), i32.const(OVERLAY_STATE.live));
            f.if(i32.eqz(isLive), () => f.atomicStore(slot, 0, overlayEntry(f, OVERLAY_ENTRY.leave)));
          },
          () =>
            f.if(
              i32.or(i32.ne(i32.and(bits.get, i32.const(0xffff)), i32.load16U(from)), isQuiet(f, page)),
              () => f.br(again),
              undefined,
              'unlikely',
            ),
          'unlikely',
        );
      });
    }),
  );

  // to_scratch(vcpu, pc, bits, entry): puts the instruction into the vCPU's scratch entry and returns its address.
  const toScratch = module.function('to_scratch', [P, 'i64', 'i32', 'i64'], [P], (f) => {
    const { i32, i64 } = f;
    const vcpu = f.param<Ptr>(0).get;
    i32.store(vcpu, at.scratchBits, f.param<I32>(2).get);
    i64.store(vcpu, at.scratch, f.param<I64>(3).get);
    i64.store(vcpu, at.scratch + 8, i64.const(SENTINEL));
    i64.store(vcpu, at.scratch + 16, i64.const(SENTINEL));
    const entry = f.ptr.add(vcpu, f.ptr.const(at.scratch));
    i64.store(vcpu, at.fetchDelta, i64.sub(f.param<I64>(1).get, i64.shrU(f.ptr.to64(entry), i64.const(2))));
    f.return(entry);
  });
  library.set('to_scratch', toScratch);

  // fetch_scratch(vcpu, pc): decodes the one instruction at pc into the scratch entry; 0 with a fault recorded.
  const scratch = module.function('fetch_scratch', [P, 'i64'], [P], (f) => {
    const { i32, i64 } = f;
    const vcpu = f.param<Ptr>(0).get;
    const pc = f.param<I64>(1).get;
    /** The decoded page of the last half read, if the fetch buffer knows one. */
    const header = f.pointerLocal();
    const half = (va: I64): I32 => {
      // The fetch buffer knows both pages of a loop's straddling instruction: no walk for each execution.
      const slot = f.let(f.ptr.add(f.ptr.load(vcpu, at.fetchBank), firstPlace(f, va)));
      const value = f.local('i32');
      f.set(header, f.ptr.const(0));
      f.if(i64.eq(i64.load(slot), i64.and(va, i64.const(-4096))), () => {
        const found = f.let(headerOf(f, f.ptr.load(slot, 8)));
        // An overlay that was dropped no longer stands for anything.
        const isPlain = f.ptr.eqz(f.ptr.load(found, head.records));
        const isLive = i32.eq(f.atomicLoad('i32', found, head.state), i32.const(OVERLAY_STATE.live));
        f.if(i32.or(isPlain, isLive), () => f.set(header, found));
      });
      f.if(
        f.ptr.eqz(header.get),
        () => {
          const address = f.let(f.call(host, vcpu, va, i32.const(2), i32.const(ACCESS.fetch)) as Ptr);
          f.if(f.ptr.eqz(address), () => f.return(f.ptr.const(0)), undefined, 'unlikely');
          f.set(value, i32.load16U(address));
        },
        () => {
          const offset = i32.and(f.convert('i32_wrap_i64', va), i32.const(4095));
          f.set(value, f.call(codeHalf, header.get, offset) as I32);
        },
        'unlikely',
      );
      return value.get;
    };
    const bits = f.local('i32');
    f.set(bits, half(pc));
    const record = f.pointerLocal();
    f.set(record, f.ptr.const(0));
    f.if(i32.eqz(f.ptr.eqz(header.get)), () => {
      const offset = i32.and(f.convert('i32_wrap_i64', pc), i32.const(4095));
      f.if(
        i32.eqz(f.ptr.eqz(f.ptr.load(header.get, head.records))),
        () => f.set(record, f.call(library.get('record_at'), header.get, offset) as Ptr),
        undefined,
        'unlikely',
      );
    });
    f.if(i32.eq(i32.and(bits.get, i32.const(3)), i32.const(3)), () =>
      f.set(bits, i32.or(bits.get, i32.shl(half(i64.add(pc, i64.const(2))), i32.const(16)))),
    );
    const entry = f.local('i64');
    f.set(entry, f.call(decodeBits, bits.get) as I64);
    f.if(f.call(policyOf, entry.get) as I32, () => f.set(entry, overlayEntry(f, OVERLAY_ENTRY.trapped)));
    f.if(
      i32.eqz(f.ptr.eqz(record.get)),
      () => {
        // The other page may hold another half now than when the substitute was made: then it is none.
        const applied = f.let(f.call(applyRecord, record.get, bits.get) as I64);
        f.if(i64.ne(applied, i64.const(0)), () => f.set(entry, applied));
      },
      undefined,
      'unlikely',
    );
    f.return(f.call(toScratch, vcpu, pc, bits.get, entry.get));
  });
  library.set('fetch_scratch', scratch);

  // fetch(vcpu, pc): the address of the entry at pc, fetchDelta set and the fetch buffer filled; 0 with a fault.
  const page = module.function('decoded_page', [P, P], [P], (f) => defineDecodedPage(f, noteCode));
  library.set(
    'fetch',
    module.function('fetch', [P, 'i64'], [P], (f) => {
      const { i32, i64 } = f;
      const vcpu = f.param<Ptr>(0).get;
      const pc = f.param<I64>(1).get;
      const bank = (): Ptr => f.let(f.ptr.load(vcpu, at.fetchBank));
      const pageVa = f.let(i64.and(pc, i64.const(-4096)));
      const found = (decoded: Ptr): void => {
        i64.store(vcpu, at.fetchDelta, i64.sub(pageVa, i64.shrU(f.ptr.to64(decoded), i64.const(2))));
        f.return(f.ptr.add(decoded, f.ptr.from64(i64.shl(i64.and(pc, i64.const(0xffe)), i64.const(2)))));
      };
      f.if(f.call(library.get('buffer_recall'), bank(), pageVa) as I32, () =>
        found(f.let(f.ptr.load(f.ptr.add(bank(), firstPlace(f, pc)), 8))),
      );
      const address = f.let(f.call(host, vcpu, pc, i32.const(2), i32.const(ACCESS.fetch)) as Ptr);
      f.if(f.ptr.eqz(address), () => f.return(f.ptr.const(0)), undefined, 'unlikely');
      f.if(
        i32.eqz(i32.load(vcpu, at.cacheable)),
        () => f.return(f.call(scratch, vcpu, pc) as Ptr),
        undefined,
        'unlikely',
      );
      const decoded = f.pointerLocal();
      f.set(decoded, f.call(page, vcpu, f.ptr.op('and', address, f.ptr.const(-4096))) as Ptr);
      f.if(f.ptr.eqz(decoded.get), () => f.return(decoded.get), undefined, 'unlikely');
      f.if(
        f.i32.or(
          f.i32.load(headerOf(f, decoded.get), head.overlays),
          f.i32.load(headerOf(f, decoded.get), head.wanted),
        ),
        () => {
          endQuiet(f, vcpu, decoded.get, noteCode);
          f.set(decoded, f.call(library.get('overlay_page'), vcpu, decoded.get) as Ptr);
          f.if(f.ptr.eqz(decoded.get), () => f.return(decoded.get));
        },
        undefined,
        'unlikely',
      );
      f.call(library.get('buffer_place'), bank(), pageVa, decoded.get);
      found(decoded.get);
    }),
  );

  // instruction_bits(vcpu, entry address, pc): the instruction's own bits, for tval.
  library.set(
    'instruction_bits',
    module.function('instruction_bits', [P, P, 'i64'], ['i64'], (f) => {
      const { i32 } = f;
      const vcpu = f.param<Ptr>(0).get;
      const slot = f.param<Ptr>(1).get;
      const wide = (bits: I32): I64 => f.convert('i64_extend_i32_u', bits);
      f.if(f.ptr.eq(slot, f.let(f.ptr.add(vcpu, f.ptr.const(at.scratch)))), () =>
        f.return(wide(i32.load(vcpu, at.scratchBits))),
      );
      const offset = f.let(i32.and(f.convert('i32_wrap_i64', f.param<I64>(2).get), i32.const(4095)));
      const header = f.let(headerOf(f, f.ptr.op('sub', slot, f.ptr.from32(i32.shl(offset, i32.const(2))))));
      const half = f.call(codeHalf, header, offset) as I32;
      f.if(i32.eq(i32.and(half, i32.const(3)), i32.const(3)), () => {
        const upper = f.call(codeHalf, header, i32.add(offset, i32.const(2))) as I32;
        f.return(wide(i32.or(half, i32.shl(upper, i32.const(16)))));
      });
      f.return(wide(half));
    }),
  );
}

/** The entry of an instruction that has a substitute. */
function substitutedForm(
  f: FunctionBuilder,
  library: Library,
  at: { readonly entry: Local<I64>; readonly record: Ptr; readonly bits: I32; readonly offset: I32 },
): void {
  const { i32, i64 } = f;
  const { entry, record } = at;
  const isStraddling = i64.eq(entry.get, i64.const(SPECIAL.straddle));
  // One that straddles is applied when both halves are known (fetch_scratch); a breakpoint comes before its fetch.
  const isBreakpoint = i32.ne(i32.and(i32.load8U(record, RECORD.uses), i32.const(USE.breakpoint)), i32.const(0));
  f.if(i32.or(isBreakpoint, i32.eqz(isStraddling)), () => {
    const applied = f.let(f.call(library.get('apply_record'), record, at.bits) as I64);
    f.if(i64.ne(applied, i64.const(0)), () => {
      f.set(entry, applied);
      nearForm(f, entry, at.offset);
    });
  });
}

/** Turns the entry of a branch or jal whose target lies in its own page into its near form. */
function nearForm(f: FunctionBuilder, entry: Local<I64>, offset: I32): void {
  const { i32, i64 } = f;
  const operation = f.let(i32.and(f.convert('i32_wrap_i64', entry.get), i32.const(1023)));
  const flags = i32.load8U(f.ptr.from32(operation), PLAN.nearFlags);
  f.if(flags, () => {
    const immediate = f.let(f.convert('i32_wrap_i64', i64.shrU(entry.get, i64.const(ENTRY.immediate))));
    f.if(i32.ltU(i32.add(offset, immediate), i32.const(4096)), () => {
      const kept = i64.and(entry.get, i64.const(0xffffffff));
      const scaled = i64.shl(
        f.convert('i64_extend_i32_u', i32.shl(immediate, i32.const(2))),
        i64.const(ENTRY.immediate),
      );
      f.set(entry, i64.or(i64.add(kept, i64.const(1)), scaled));
    });
  });
}

/** An instruction at one of the machine's breakpoints becomes one; for machines without overlays. */
function breakpointForm(f: FunctionBuilder, entry: Local<I64>, from: Ptr): void {
  const { i32 } = f;
  const header = f.ptr.const(PLAN.header);
  const left = f.local('i32');
  f.set(left, i32.const(0));
  f.if(i32.eqz(i32.load(header, headerLayout.offset.breakpointsInOverlays)), () =>
    f.set(left, i32.load(header, headerLayout.offset.breakpointCount)),
  );
  f.while(
    () => left.get,
    () => {
      f.set(left, i32.sub(left.get, i32.const(1)));
      const slot = f.ptr.add(header, f.ptr.from32(i32.shl(left.get, i32.const(2))));
      f.if(i32.eq(i32.load(slot, headerLayout.offset.breakpoints), f.ptr.to32(from)), () =>
        f.set(entry, f.i64.const(SPECIAL.breakpoint)),
      );
    },
  );
}

/** Looks a word up among the candidates of its bucket, or in the table of all 16-bit patterns. */
function defineDecodeBits(f: FunctionBuilder, tables: DecodeTables, which: 'own' | 'emulation'): void {
  const { i32, i64 } = f;
  const expansions = which === 'own' ? PLAN.expansions : PLAN.emulationExpansions;
  const bucketsAt = which === 'own' ? PLAN.decodeBuckets : PLAN.emulationBuckets;
  const word = f.local('i32');
  f.set(word, f.param<I32>(0).get);
  const isShort = f.let(i32.ne(i32.and(word.get, i32.const(3)), i32.const(3)));
  f.if(isShort, () =>
    f.set(word, i32.load(f.ptr.from32(i32.shl(i32.and(word.get, i32.const(0xffff)), i32.const(2))), expansions)),
  );
  const bits = word.get;
  const bucket = i32.or(
    i32.and(i32.shrU(bits, i32.const(2)), i32.const(31)),
    i32.and(i32.shrU(bits, i32.const(7)), i32.const(0xe0)),
  );
  const candidate = f.local('i32');
  f.set(candidate, i32.load(f.ptr.from32(i32.shl(bucket, i32.const(2))), bucketsAt));
  f.loop((again) => {
    const here = f.ptr.from32(candidate.get);
    // The list ends with a candidate that matches everything: illegal.
    f.if(i32.ne(i32.and(bits, i32.load(here, 0)), i32.load(here, 4)), () => {
      f.set(candidate, i32.add(candidate.get, i32.const(16)));
      f.br(again);
    });
  });
  const found = f.ptr.from32(candidate.get);
  const low = f.local('i32');
  f.set(low, i32.load(found, 8));
  f.if(isShort, () =>
    f.set(low, i32.loadSized(f.ptr.from32(i32.shl(low.get, i32.const(1))), PLAN.compressedSiblings, 2, false)),
  );
  const immediate = f.local('i32');
  const format = i32.load(found, 12);
  f.switch(
    format,
    tables.formats.map((build) => () => build(f, bits, low, immediate)),
    () => f.unreachable(),
  );
  f.return(
    i64.or(
      f.convert('i64_extend_i32_u', low.get),
      i64.shl(f.convert('i64_extend_i32_u', immediate.get), i64.const(ENTRY.immediate)),
    ),
  );
}
