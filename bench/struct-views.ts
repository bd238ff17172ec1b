/**
 * What an access to a field of shared memory costs by a view of base/struct.ts, beside objects with accessors of their own,
 * which hosts keep as hash tables. Processor time; prints nanoseconds an access, in code that is warm and in code that has
 * just begun to run.
 */
import { array, struct } from '../src/base/struct.ts';

const ACCESSES = 9;
const WARM_CALLS = 200_000;
const COLD_CALLS = 300;

const scalars = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`field${i}`, i % 3 === 0 ? 'u64' : 'u32']));
const layout = struct('measured', { ...(scalars as Record<string, 'u32' | 'u64'>), words: array('u32', 8) });

interface Measured {
  field1: number;
  field2: number;
  field3: bigint;
  field4: number;
  field5: number;
  field6: bigint;
  field7: number;
  readonly words: Uint32Array;
}

function ownAccessors(view: object): Measured {
  const keys = Object.keys(layout.fields);
  const source = view as Record<string, unknown>;
  const properties = keys.map((key) => [
    key,
    {
      get: () => source[key],
      set: (value: unknown) => {
        source[key] = value;
      },
    },
  ]);
  return Object.create(null, Object.fromEntries(properties)) as Measured;
}

function touch(view: Measured): void {
  view.field1 = view.field2 + 1;
  view.field4 = view.field5 | view.field7;
  view.words[1] = view.field1;
  if (view.field3 !== 5n) view.field6 = view.field3;
}

function measure(view: Measured, calls: number): string {
  const began = process.cpuUsage().user;
  for (let i = 0; i < calls; i++) touch(view);
  return (((process.cpuUsage().user - began) * 1000) / calls / ACCESSES).toFixed(1);
}

const view = layout.view(new SharedArrayBuffer(layout.sizeBytes), 0) as unknown as Measured;
const measured = process.argv[2] === 'own' ? ownAccessors(view) : view;
const [cold, warm] = [measure(measured, COLD_CALLS), measure(measured, WARM_CALLS)];
console.log(`${process.argv[2] === 'own' ? 'accessors of its own' : 'a view'}: ${warm} ns warm, ${cold} ns cold`);
