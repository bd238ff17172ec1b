/**
 * Physical memory protection in generated Wasm: sixteen entries (TOR, NA4, NAPOT), and Smepmp's rules. Privileged
 * specification, "Physical Memory Protection" and "Smepmp Extension".
 */
import { hartState } from '../isa/index.ts';
import type { FunctionBuilder, I32, I64, Ptr } from '../wasm/index.ts';
import { ACCESS } from './memory-plan.ts';
import { vcpuState } from './vcpu-state.ts';

const at = vcpuState.offset;

/** Sixteen entries, lowest number first; the first that matches any byte decides. Smepmp's rules are in mseccfg. */
export function definePmp(f: FunctionBuilder): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const gpa = f.param<I64>(1).get;
  const bytes = f.param<I32>(2).get;
  const access = f.param<I32>(3).get;
  const mode = f.param<I32>(4).get;
  // What opens all memory to supervisor and user, and nothing else set: the built-in SBI's machines (measured, bench/).
  const isOpen = i32.and(
    i64.eq(i64.load(vcpu, at.pmpcfg0), i64.const(0x1f)),
    i64.eq(i64.load(vcpu, hartState.offset.pmpaddr0), i64.const((1n << 54n) - 1n)),
  );
  f.if(i32.and(isOpen, i32.ne(mode, i32.const(3))), () => f.return(i32.const(1)), undefined, 'likely');
  const end = f.let(i64.add(gpa, f.convert('i64_extend_i32_u', bytes)));
  const pageStart = f.let(i64.and(gpa, i64.const(-4096)));
  const pageEnd = f.let(i64.add(pageStart, i64.const(4096)));
  const uniform = f.local('i32');
  f.set(uniform, i32.const(1));
  const mseccfg = f.let(f.convert('i32_wrap_i64', i64.load(vcpu, at.mseccfg)));
  const isMachine = f.let(i32.eq(mode, i32.const(3)));
  const previous = f.local('i64');
  const index = f.local('i32');
  const cfgs = f.local('i64');
  f.set(cfgs, i64.load(vcpu, at.pmpcfg0));
  f.block((none) => {
    f.loop((nextEntry) => {
      const cfg = f.let(i32.and(f.convert('i32_wrap_i64', cfgs.get), i32.const(255)));
      const kind = f.let(i32.and(i32.shrU(cfg, i32.const(3)), i32.const(3)));
      const address = f.let(
        i64.load(f.ptr.add(vcpu, f.ptr.from32(i32.shl(index.get, i32.const(3)))), hartState.offset.pmpaddr0),
      );
      f.if(kind, () => {
        const low = f.local('i64');
        const high = f.local('i64');
        const scaled = f.let(i64.shl(address, i64.const(2)));
        f.if(
          i32.eq(kind, i32.const(1)),
          () => {
            f.set(low, i64.shl(previous.get, i64.const(2)));
            f.set(high, scaled);
          },
          () => {
            f.set(low, scaled);
            f.set(high, i64.add(scaled, i64.const(4)));
            f.if(i32.eq(kind, i32.const(3)), () => {
              // NAPOT: the trailing ones, and the zero above them, are the size.
              const mask = f.let(
                i64.or(i64.shl(i64.xor(address, i64.add(address, i64.const(1))), i64.const(2)), i64.const(3)),
              );
              f.set(low, i64.and(scaled, i64.xor(mask, i64.const(-1))));
              f.set(high, i64.add(i64.add(low.get, mask), i64.const(1)));
            });
          },
        );
        // A TOR whose top is not above its bottom matches nothing, whatever lies round it.
        const isSome = f.let(i64.ltU(low.get, high.get));
        f.if(i32.and(isSome, i32.and(i64.ltU(low.get, pageEnd), i64.ltU(pageStart, high.get))), () => {
          f.if(i32.or(i64.ltU(pageStart, low.get), i64.ltU(high.get, pageEnd)), () => f.set(uniform, i32.const(2)));
        });
        f.if(i32.and(isSome, i32.and(i64.ltU(low.get, end), i64.ltU(gpa, high.get))), () => {
          f.if(i32.or(i64.ltU(gpa, low.get), i64.ltU(high.get, end)), () => f.return(i32.const(0)));
          const rights = f.let(pmpRights(f, cfg, mseccfg, isMachine));
          // Bits of rights: 1 read, 2 write, 4 execute, as in pmpcfg.
          const needed = f.select(
            i32.eq(access, i32.const(ACCESS.store)),
            i32.const(2),
            f.select(access, i32.const(1), i32.const(4)),
          );
          f.return(f.select(i32.and(rights, needed), uniform.get, i32.const(0)));
        });
      });
      f.set(previous, address);
      f.set(index, i32.add(index.get, i32.const(1)));
      f.brIf(none, i32.eq(index.get, i32.const(16)));
      f.set(
        cfgs,
        f.select(i32.eq(index.get, i32.const(8)), i64.load(vcpu, at.pmpcfg2), i64.shrU(cfgs.get, i64.const(8))),
      );
      f.br(nextEntry);
    });
  });
  // No entry matches: machine mode may, unless MMWP, and with MML only read and write; others may not.
  const mml = i32.and(mseccfg, i32.const(1));
  const mmwp = i32.and(i32.shrU(mseccfg, i32.const(1)), i32.const(1));
  const machineMay = i32.and(i32.eqz(mmwp), i32.or(i32.eqz(mml), i32.ne(access, i32.const(ACCESS.fetch))));
  f.return(f.select(i32.and(isMachine, machineMay), uniform.get, i32.const(0)));
}

/** What entry `cfg` lets the mode do: bits R 1, W 2, X 4. Smepmp, table 1, where mseccfg.MML is set. */
function pmpRights(f: FunctionBuilder, cfg: I32, mseccfg: I32, isMachine: I32): I32 {
  const { i32 } = f;
  const locked = f.let(i32.shrU(cfg, i32.const(7)));
  const rwx = f.let(i32.and(cfg, i32.const(7)));
  const out = f.local('i32');
  f.if(
    i32.eqz(i32.and(mseccfg, i32.const(1))),
    () => f.set(out, f.select(i32.and(isMachine, i32.eqz(locked)), i32.const(7), rwx)),
    () => {
      const isShared = i32.eq(i32.and(rwx, i32.const(3)), i32.const(2));
      f.if(
        isShared,
        () => {
          const hasX = i32.shrU(rwx, i32.const(2));
          // Unlocked W: M read-write, S/U read (or read-write with X). Locked W: execute for both; with X M reads too.
          const unlocked = f.select(i32.or(isMachine, hasX), i32.const(3), i32.const(1));
          const lockedRights = f.select(i32.and(isMachine, hasX), i32.const(5), i32.const(4));
          f.set(out, f.select(locked, lockedRights, unlocked));
        },
        () => {
          // Locked entries are machine mode's alone, the others are not machine mode's; locked RWX is read-only for both.
          const own = f.select(i32.eq(locked, isMachine), rwx, i32.const(0));
          f.set(out, f.select(i32.and(locked, i32.eq(rwx, i32.const(7))), i32.const(1), own));
        },
      );
    },
  );
  return out.get;
}
