/**
 * What `--trap NAME` names: an instruction (`wfi`, `fence.i`, `amoadd.w`), whatever its length, or a CSR (`satp`,
 * `time`), of which every access by csrrw and its kin is meant; rdtime, rdcycle and rdinstret are names of CSRs, too.
 */
import { OperatorError } from '../base/errors.ts';
import { MOST_POLICIES } from '../engine/index.ts';
import { COMPRESSED_ROWS, CSR_BY_NAME, ROWS } from '../isa/index.ts';
import type { TrapPolicy } from './board-shape.ts';

const READS: ReadonlyMap<string, string> = new Map([
  ['rdtime', 'time'],
  ['rdcycle', 'cycle'],
  ['rdinstret', 'instret'],
]);

/**
 * Two names of one thing are one policy, by the name that comes first. Throws OperatorError for names of nothing, and of
 * instructions that a hart with these extensions never executes.
 */
export function parsePolicies(names: readonly string[], extensions: ReadonlySet<string>): readonly TrapPolicy[] {
  const policies = new Map<string | number | undefined, TrapPolicy>();
  for (const name of names) {
    const policy = parsePolicy(name.toLowerCase(), extensions);
    const what = policy.csr ?? policy.row;
    if (!policies.has(what)) policies.set(what, policy);
  }
  if (policies.size > MOST_POLICIES)
    throw new OperatorError(
      'too-many-traps',
      `${policies.size} traps are not possible`,
      `Give at most ${MOST_POLICIES}`,
    );
  return [...policies.values()];
}

function parsePolicy(name: string, extensions: ReadonlySet<string>): TrapPolicy {
  const csr = CSR_BY_NAME.get(READS.get(name) ?? name);
  if (csr) return { name, csr: csr.number };
  const row = ROWS.find((one) => one.name.toLowerCase() === name);
  if (row === undefined) {
    const compressed = COMPRESSED_ROWS.find((one) => one.name.toLowerCase() === name);
    const fix =
      compressed === undefined
        ? 'Name an instruction such as wfi or fence.i, or a CSR such as satp'
        : `Name what it is short for: ${compressed.expansion.split(' ', 1)[0]}`;
    throw new OperatorError('unknown-trap', `there is no instruction and no CSR ${name}`, fix);
  }
  if (!row.extension.split('+').every((part) => extensions.has(part)))
    throw new OperatorError('unknown-trap', `the hart never executes ${name}`, `Switch ${row.extension} on with --cpu`);
  return { name, row: row.name };
}
