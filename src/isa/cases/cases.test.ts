import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rowCode } from '../code.ts';
import { casesOf } from './generate.testing.ts';
import { referenceMachine } from './reference-machine.testing.ts';
import { testCases } from './suite.testing.ts';

testCases(referenceMachine());

test('every aliasing of operands occurs', () => {
  const labels = new Set(Array.from(casesOf(rowCode('fmadd.d')), ({ name }) => name.replace('fmadd.d ', '')));
  const wanted =
    'distinct, rd=rs1, rd=rs2, rd=rs3, rs1=rs2, rs1=rs3, rs2=rs3, rd=x0, rs1=x0, rs2=x0, rs3=x0, all equal';
  assert.deepEqual([...labels].toSorted(), wanted.split(', ').toSorted());
});

test('every rounding mode occurs, static and dynamic, reserved ones too', () => {
  const modes = new Set(Array.from(casesOf(rowCode('fadd.s')), ({ bits, frm }) => `${(bits >>> 12) & 7} ${frm}`));
  for (let mode = 0; mode < 7; mode++) assert.ok(modes.has(`${mode} 3`), `rm ${mode}`);
  for (let mode = 0; mode < 8; mode++) assert.ok(modes.has(`7 ${mode}`), `frm ${mode}`);
});

test('cases are the same at every run', () => {
  const once = Array.from(casesOf(rowCode('amoadd.w')), ({ bits }) => bits);
  assert.deepEqual(
    Array.from(casesOf(rowCode('amoadd.w')), ({ bits }) => bits),
    once,
  );
});
