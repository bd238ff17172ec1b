/**
 * Asks the host whether its relaxed SIMD multiply-add exists and rounds once. The relaxed SIMD proposal lets an engine
 * fuse or not, but not change its mind while it runs, so asking one small module is enough.
 */
import { type F32, type F64, ModuleBuilder } from '../../wasm/index.ts';

let answer: boolean | undefined;

/** True where relaxed multiply-adds of f64 and f32 are fused. Asked once. */
export function hostFusesMultiplyAdd(): boolean {
  answer ??= ask();
  return answer;
}

function ask(): boolean {
  const module = new ModuleBuilder({ width: 32, shared: false, initialPages: 0, maximumPages: 0 });
  for (const type of ['f32', 'f64'] as const) {
    const ref = module.function(type, [type, type, type], [type], (f) => {
      const [a, b, c] = [0, 1, 2].map((i) => f.param<F32 | F64>(i).get) as [F64, F64, F64];
      f.return(f.relaxedMultiplyAdd(a, b, c));
    });
    module.export(type, ref);
  }
  const memory = new WebAssembly.Memory({ initial: 0, maximum: 0 });
  let compiled: WebAssembly.Module;
  try {
    compiled = new WebAssembly.Module(module.build());
  } catch {
    return false;
  }
  const { exports } = new WebAssembly.Instance(compiled, { env: { memory } });
  // (1 + e)(1 - e) - 1 is -e^2, or 0 where the product is rounded.
  return (['f32', 'f64'] as const).every((type) => {
    const e = type === 'f32' ? 2 ** -20 : 2 ** -40;
    const fused = exports[type] as (a: number, b: number, c: number) => number;
    return fused(1 + e, 1 - e, -1) === -(e ** 2);
  });
}
