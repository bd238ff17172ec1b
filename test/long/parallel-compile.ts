/**
 * Four harts, gcc of Debian's archive four times at once in our guest: what comes of it is byte for byte what it makes
 * alone, and the program that it makes computes what this file computes.
 *
 *   node test/long/parallel-compile.ts        a few minutes
 */
import assert from 'node:assert/strict';
import { PackagesGuest } from '../system/guest-packages.testing.ts';

const HARTS = 4;
const UNITS = 4;
const FUNCTIONS = 60;
const LIMIT_MS = 1_200_000;

/** A unit of functions that call each other; the last gives a value that depends on all. */
function unitSource(unit: number): string {
  const functions = Array.from({ length: FUNCTIONS }, (_, i) => {
    const before = i === 0 ? 'x' : `f${unit}_${i - 1}(x ^ ${i * 7 + unit}u)`;
    return `unsigned f${unit}_${i}(unsigned x) { return ${before} * ${2 * i + 3}u + ${i + unit}u; }`;
  });
  return `${functions.join('\n')}\n`;
}

function mainSource(units: number): string {
  const names = Array.from({ length: units }, (_, unit) => `f${unit}_${FUNCTIONS - 1}`);
  return `#include <stdio.h>
${names.map((name) => `unsigned ${name}(unsigned);`).join('\n')}
int main(void) { unsigned sum = 1; ${names.map((name) => `sum += ${name}(sum);`).join(' ')} printf("%u\\n", sum); return 0; }
`;
}

/** What the program prints. */
function programResult(units: number): number {
  const call = (unit: number, i: number, x: number): number => {
    const before = i === 0 ? x : call(unit, i - 1, (x ^ (i * 7 + unit)) >>> 0);
    return (Math.imul(before, 2 * i + 3) + i + unit) >>> 0;
  };
  let sum = 1;
  for (let unit = 0; unit < units; unit++) sum = (sum + call(unit, FUNCTIONS - 1, sum)) >>> 0;
  return sum;
}

const units = Array.from({ length: UNITS }, (_, unit) => `unit${unit}`);
await using guest = await PackagesGuest.start(['gcc', 'libc6-dev'], { cpus: HARTS, memoryBytes: 1 << 30 }, LIMIT_MS);
for (let unit = 0; unit < UNITS; unit++) await guest.write(`/tmp/unit${unit}.c`, unitSource(unit));
await guest.write('/tmp/main.c', mainSource(UNITS));
const compile = `
  set -e; cd /tmp; mkdir -p one many
  compile() { gcc -O1 -c -o "$2/$1.o" "$1.c"; }
  now() { cut -d' ' -f1 /proc/uptime; }
  compile main one; echo began $(now)
  for u in ${units.join(' ')}; do compile $u one; done
  echo alone $(now)
  compile main many
  for u in ${units.join(' ')}; do compile $u many & done
  wait
  echo together $(now)
  for o in one/*.o; do cmp $o many/\${o#one/}; done
  gcc -o program many/*.o
  ./program`;
const { code, stdout, stderr } = await guest.run(['sh', '-c', compile]);
assert.equal(stderr, '');
assert.equal(code, 0);
const [began = 0, alone = 0, together = 0] = [...stdout.matchAll(/(?:began|alone|together) ([\d.]+)/g)].map((m) =>
  Number(m[1]),
);
assert.equal(stdout.split('\n').at(-2), `${programResult(UNITS)}`);
console.log(
  `one after the other ${(alone - began).toFixed(1)} s, together ${(together - alone).toFixed(1)} s; the same objects, and they compute right`,
);
