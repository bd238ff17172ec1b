/**
 * A hart that knows the privileged instructions alone: the abstract machine over bigints with just the operations
 * that the privileged semantics may use; any other one fails the test that needs it.
 */
import { must } from '../../base/assert.ts';
import { CSR_BY_NUMBER, readCsr, writeCsr } from '../csr/index.ts';
import type { Machine } from '../machine.ts';
import type { Row } from '../row.ts';
import { hartState, type StateField } from '../state.ts';
import { type CaseHart, NOP, TIME } from './cases/hart-case.testing.ts';
import { PRIVILEGED } from './rows.ts';
import { enterTrap, pendingInterrupt } from './trap.ts';

class Trap {
  readonly cause: number;
  readonly tval: bigint;
  constructor(cause: number, tval: bigint) {
    this.cause = cause;
    this.tval = tval;
  }
}

class Leave {
  readonly exit: 'call' | 'wait';
  constructor(exit: 'call' | 'wait') {
    this.exit = exit;
  }
}

export class TestHart implements CaseHart {
  readonly state = hartState.view(new ArrayBuffer(hartState.sizeBytes), 0);
  readonly words = new Map<bigint, number>();
  /** What the semantics told the engine, in order: `context`, `timer`, `fence va asid`. */
  readonly notices: string[] = [];
  readonly machine: Machine<bigint, boolean>;
  #word = 0;
  #next = 0n;

  constructor() {
    this.machine = only(this.#operations());
  }

  get(field: StateField): bigint {
    return this.state[field];
  }
  set(field: StateField, value: bigint): void {
    this.state[field] = value;
  }
  x(index: number): bigint {
    return must(this.state.x[index]);
  }
  setX(index: number, value: bigint): void {
    if (index !== 0) this.state.x[index] = value;
  }
  put(address: bigint, word: number): void {
    this.words.set(address, word);
  }

  step(): 'next' | 'call' | 'wait' {
    const m = this.machine;
    const interrupt = pendingInterrupt(m);
    this.#next = this.state.pc + 4n;
    let exit: 'next' | 'call' | 'wait' = 'next';
    if (interrupt !== wrap(-1n)) {
      enterTrap(m, interrupt, 0n, true);
    } else {
      exit = this.#execute(must(this.words.get(this.state.pc), 'no instruction at the pc'));
    }
    this.state.pc = this.#next;
    return exit;
  }

  #execute(word: number): 'next' | 'call' | 'wait' {
    this.#word = word;
    try {
      if (word !== NOP) must(PRIVILEGED.find((row) => matches(row, word))).semantics(this.machine);
    } catch (end) {
      if (end instanceof Leave) return end.exit;
      if (!(end instanceof Trap)) throw end;
      enterTrap(this.machine, BigInt(end.cause), end.tval, false);
      return 'next';
    }
    this.state.instret++;
    return 'next';
  }

  #field(low: number): number {
    return (this.#word >>> low) & 31;
  }

  #operations(): Partial<Machine<bigint, boolean>> {
    const m = this.state;
    const illegal = () => new Trap(2, BigInt(this.#word));
    const csr = () => {
      const row = CSR_BY_NUMBER.get(this.#word >>> 20);
      if (row === undefined) throw illegal();
      return row;
    };
    const operations: Partial<Machine<bigint, boolean>> = {
      rs1: () => this.x(this.#field(15)),
      rs2: () => this.x(this.#field(20)),
      rd: (value) => this.setX(this.#field(7), value),
      zimm: () => BigInt(this.#field(15)),
      rs1IsNotZero: () => this.#field(15) !== 0,
      rs2IsNotZero: () => this.#field(20) !== 0,
      rdIsNotZero: () => this.#field(7) !== 0,
      pc: () => m.pc,
      next: () => m.pc + 4n,
      const: (value) => wrap(BigInt(value)),
      add: (a, b) => wrap(a + b),
      sub: (a, b) => wrap(a - b),
      and: (a, b) => a & b,
      or: (a, b) => a | b,
      xor: (a, b) => a ^ b,
      not: (a) => wrap(~a),
      sll: (a, b) => wrap(a << (b & 63n)),
      srl: (a, b) => a >> (b & 63n),
      let: (a) => a,
      eq: (a, b) => a === b,
      ne: (a, b) => a !== b,
      ltu: (a, b) => a < b,
      both: (a, b) => a && b,
      either: (a, b) => a || b,
      negate: (a) => !a,
      select: (c, a, b) => (c ? a : b),
      when: (c, then, otherwise) => (c ? then() : otherwise?.()),
      jumpTo: (target) => {
        this.#next = target;
      },
      state: (field) => m[field],
      setState: (field, value) => {
        m[field] = value;
      },
      mode: () => m.mode,
      require: (c) => {
        if (!c) throw illegal();
      },
      requireFloat: () => {
        if (((m.mstatus >> 13n) & 3n) === 0n) throw illegal();
      },
      raise: (cause, tval) => {
        throw new Trap(cause, tval);
      },
      leave: (exit) => {
        throw new Leave(exit === 'breakpoint' ? 'wait' : exit);
      },
      csrRead: () => readCsr(this.machine, csr()),
      csrWrite: (value, changes) => writeCsr(this.machine, csr(), value, changes),
      contextChanged: () => this.notices.push('context'),
      timerChanged: () => this.notices.push('timer'),
      fenceTranslation: (va, asid) => this.notices.push(`fence ${va ?? 'all'} ${asid ?? 'all'}`),
      time: () => TIME,
      instret: () => m.instret,
    };
    return operations;
  }
}

function wrap(value: bigint): bigint {
  return BigInt.asUintN(64, value);
}

/** The operations given; asking for another one is an error that names it. */
function only(operations: Partial<Machine<bigint, boolean>>): Machine<bigint, boolean> {
  return new Proxy(operations, {
    get(target, name) {
      const operation: unknown = Reflect.get(target, name);
      return must(operation, `privileged semantics uses ${String(name)}`);
    },
  }) as Machine<bigint, boolean>;
}

const WIDTHS: { readonly [field: string]: number } = { csr: 12, rs1: 5, rs2: 5, rd: 5, zimm: 5 };

function matches(row: Row, word: number): boolean {
  const bits = word.toString(2).padStart(32, '0');
  const pattern = row.pattern
    .split(' ')
    .map((token) => (/^[01]+$/.test(token) ? token : '.'.repeat(must(WIDTHS[token], token))))
    .join('');
  return new RegExp(`^${pattern}$`).test(bits);
}
