/**
 * JIT compilers of Debian's riscv64 archive at work in our guest: each runs the same program in its language (a sieve,
 * recursion over small tables, floating point) and says itself that it compiled. They write machine code, patch it,
 * throw it away and execute what they wrote, some on several threads: what a translator of code must bear.
 */
import assert from 'node:assert/strict';
import { PackagesGuest } from './guest-packages.testing.ts';

/** pi(2,000,000), the placements of ten queens, and the spectral norm for n = 100, as the literature has them. */
const RESULTS = 'primes 148933\nqueens 724\nnorm 1.274219991\n';

export interface JitCompiler {
  readonly name: string;
  /** The first is the compiler's own. */
  readonly packages: readonly string[];
  readonly memoryBytes: number;
  /** Added to the kernel's command line. */
  readonly append?: string;
  readonly file: string;
  readonly source: string;
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** What it prints, on either stream, for each piece of code that it compiled. */
  readonly compiled: RegExp;
  /** Pieces of code, at the least. */
  readonly least: number;
}

const LUA = `
local function primes(n)
  local isComposite, count = {}, 0
  for i = 2, n do
    if not isComposite[i] then
      count = count + 1
      for j = i * i, n, i do isComposite[j] = true end
    end
  end
  return count
end
local function queens(n)
  local column, up, down = {}, {}, {}
  local function place(row)
    if row > n then return 1 end
    local count = 0
    for at = 1, n do
      if not (column[at] or up[row + at] or down[row - at + n]) then
        column[at], up[row + at], down[row - at + n] = true, true, true
        count = count + place(row + 1)
        column[at], up[row + at], down[row - at + n] = false, false, false
      end
    end
    return count
  end
  return place(1)
end
local function norm(n)
  local function a(i, j) return 1 / ((i + j) * (i + j + 1) / 2 + i + 1) end
  local function times(v, isTransposed)
    local out = {}
    for i = 0, n - 1 do
      local sum = 0
      for j = 0, n - 1 do sum = sum + (isTransposed and a(j, i) or a(i, j)) * v[j] end
      out[i] = sum
    end
    return out
  end
  local u, v = {}, nil
  for i = 0, n - 1 do u[i] = 1 end
  for _ = 1, 10 do
    v = times(times(u, false), true)
    u = times(times(v, false), true)
  end
  local vBv, vv = 0, 0
  for i = 0, n - 1 do vBv, vv = vBv + u[i] * v[i], vv + v[i] * v[i] end
  return math.sqrt(vBv / vv)
end
io.write('primes ', primes(2000000), '\\n')
io.write('queens ', queens(10), '\\n')
io.write(string.format('norm %.9f\\n', norm(100)))
`;

const PYTHON = `
import math
def primes(n):
    is_composite = bytearray(n + 1)
    count = 0
    for i in range(2, n + 1):
        if not is_composite[i]:
            count += 1
            for j in range(i * i, n + 1, i):
                is_composite[j] = 1
    return count
def queens(n):
    column, up, down = [False] * n, [False] * (2 * n), [False] * (2 * n)
    def place(row):
        if row == n:
            return 1
        count = 0
        for at in range(n):
            if not (column[at] or up[row + at] or down[row - at + n]):
                column[at] = up[row + at] = down[row - at + n] = True
                count += place(row + 1)
                column[at] = up[row + at] = down[row - at + n] = False
        return count
    return place(0)
def a(i, j):
    return 1.0 / ((i + j) * (i + j + 1) // 2 + i + 1)
def times(v, is_transposed):
    n = len(v)
    out = []
    for i in range(n):
        total = 0.0
        for j in range(n):
            total += (a(j, i) if is_transposed else a(i, j)) * v[j]
        out.append(total)
    return out
def norm(n):
    u = [1.0] * n
    for _ in range(10):
        v = times(times(u, False), True)
        u = times(times(v, False), True)
    return math.sqrt(sum(x * y for x, y in zip(u, v)) / sum(y * y for y in v))
print('primes', primes(2000000))
print('queens', queens(10))
print('norm %.9f' % norm(100))
`;

const JAVASCRIPT = `
function primes(n) {
  const isComposite = new Uint8Array(n + 1);
  let count = 0;
  for (let i = 2; i <= n; i++) {
    if (isComposite[i]) continue;
    count++;
    for (let j = i * i; j <= n; j += i) isComposite[j] = 1;
  }
  return count;
}
function queens(n) {
  const [column, up, down] = [[], [], []];
  function place(row) {
    if (row === n) return 1;
    let count = 0;
    for (let at = 0; at < n; at++) {
      if (column[at] || up[row + at] || down[row - at + n]) continue;
      column[at] = up[row + at] = down[row - at + n] = true;
      count += place(row + 1);
      column[at] = up[row + at] = down[row - at + n] = false;
    }
    return count;
  }
  return place(0);
}
function a(i, j) { return 1 / ((i + j) * (i + j + 1) / 2 + i + 1); }
function times(v, isTransposed) {
  return v.map((_, i) => v.reduce((sum, x, j) => sum + (isTransposed ? a(j, i) : a(i, j)) * x, 0));
}
function norm(n) {
  let u = new Array(n).fill(1), v;
  for (let i = 0; i < 10; i++) {
    v = times(times(u, false), true);
    u = times(times(v, false), true);
  }
  const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  return Math.sqrt(dot(u, v) / dot(v, v));
}
process.stdout.write('primes ' + primes(2000000) + '\\n');
process.stdout.write('queens ' + queens(10) + '\\n');
process.stdout.write('norm ' + norm(100).toFixed(9) + '\\n');
`;

const JAVA = `
public class Work {
  static int primes(int n) {
    boolean[] isComposite = new boolean[n + 1];
    int count = 0;
    for (int i = 2; i <= n; i++) {
      if (isComposite[i]) continue;
      count++;
      for (long j = (long) i * i; j <= n; j += i) isComposite[(int) j] = true;
    }
    return count;
  }
  static int place(int n, int row, boolean[] column, boolean[] up, boolean[] down) {
    if (row == n) return 1;
    int count = 0;
    for (int at = 0; at < n; at++) {
      if (column[at] || up[row + at] || down[row - at + n]) continue;
      column[at] = up[row + at] = down[row - at + n] = true;
      count += place(n, row + 1, column, up, down);
      column[at] = up[row + at] = down[row - at + n] = false;
    }
    return count;
  }
  static double a(int i, int j) { return 1.0 / ((i + j) * (i + j + 1) / 2 + i + 1); }
  static double[] times(double[] v, boolean isTransposed) {
    double[] out = new double[v.length];
    for (int i = 0; i < v.length; i++)
      for (int j = 0; j < v.length; j++) out[i] += (isTransposed ? a(j, i) : a(i, j)) * v[j];
    return out;
  }
  static double norm(int n) {
    double[] u = new double[n], v = null;
    java.util.Arrays.fill(u, 1);
    for (int i = 0; i < 10; i++) {
      v = times(times(u, false), true);
      u = times(times(v, false), true);
    }
    double vBv = 0, vv = 0;
    for (int i = 0; i < n; i++) { vBv += u[i] * v[i]; vv += v[i] * v[i]; }
    return Math.sqrt(vBv / vv);
  }
  public static void main(String[] args) {
    System.out.println("primes " + primes(2000000));
    System.out.println("queens " + place(10, 0, new boolean[10], new boolean[20], new boolean[20]));
    System.out.println(String.format("norm %.9f", norm(100)));
  }
}
`;

/** Java compiles the program's source first, with its own compiler, which is a program of a hundred thousand lines. */
export const JIT_COMPILERS: readonly JitCompiler[] = [
  {
    ...{ name: 'LuaJIT', packages: ['luajit'], memoryBytes: 256 << 20, file: '/tmp/work.lua', source: LUA },
    ...{ command: ['luajit', '-jv', '/tmp/work.lua'], compiled: /^\[TRACE +\d+ /gm, least: 20 },
  },
  {
    ...{ name: 'PyPy', packages: ['pypy3'], memoryBytes: 512 << 20, file: '/tmp/work.py', source: PYTHON },
    command: ['pypy3', '/tmp/work.py'],
    // A log of each loop and bridge, with the addresses of its machine code.
    ...{
      environment: { PYPYLOG: 'jit-backend-addr:-' },
      compiled: /^(Loop|bridge out of Guard) .* has address /gm,
      least: 8,
    },
  },
  {
    ...{ name: 'Node', packages: ['nodejs'], memoryBytes: 1 << 30, file: '/tmp/work.js', source: JAVASCRIPT },
    ...{ command: ['node', '--trace-opt', '/tmp/work.js'], compiled: /^\[completed optimizing /gm, least: 5 },
  },
  {
    ...{ name: 'Java', packages: ['openjdk-21-jre-headless'], memoryBytes: 1 << 30 },
    // HotSpot refuses to start under Sv57.
    ...{ append: 'no5lvl', file: '/tmp/Work.java', source: JAVA },
    command: ['/usr/lib/jvm/java-21-openjdk-riscv64/bin/java', '-XX:+PrintCompilation', '/tmp/Work.java'],
    ...{ compiled: /^ *\d+ +\d+ .*\b[1-4] +\S+::\S+/gm, least: 1000 },
  },
];

/** Boots a guest, runs the program there, checks what it printed; gives how many pieces of code were compiled. */
export async function runJit(
  compiler: JitCompiler,
  options: { limitMs?: number; cpus?: number; hotThreshold?: number; translate?: boolean } = {},
): Promise<{ readonly compiled: number; readonly seconds: number }> {
  const { limitMs, ...machine } = options;
  const { packages, memoryBytes, append } = compiler;
  const start = { ...machine, memoryBytes, ...(append === undefined ? {} : { append }) };
  await using guest = await PackagesGuest.start(packages, start, limitMs);
  await guest.write(compiler.file, compiler.source);
  const before = performance.now();
  const { code, stdout, stderr } = await guest.run(compiler.command, compiler.environment);
  const seconds = (performance.now() - before) / 1000;
  const results = stdout.match(/^(primes|queens|norm) .*\n/gm)?.join('');
  assert.deepEqual([code, results], [0, RESULTS], `${compiler.name}: ${stdout.slice(-2000)}${stderr.slice(-2000)}`);
  const compiled = [...`${stdout}${stderr}`.matchAll(compiler.compiled)].length;
  assert.ok(compiled >= compiler.least, `${compiler.name} compiled ${compiled}: ${stdout.slice(0, 2000)}`);
  return { compiled, seconds };
}
