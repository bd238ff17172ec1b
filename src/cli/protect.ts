/** `kage protect`: the protection tables of a machine that runs, through its control socket. */
import { OperatorError } from '../base/errors.ts';
import { connectMachine, type ProtectionReport, type RemoteMachine } from '../host/index.ts';
import { violationLine } from '../machine/index.ts';
import type { Io } from './io.ts';
import { type Format, print, table } from './output.ts';
import { parseCount, parseRange } from './values.ts';

export interface ProtectFlags {
  readonly format: Format;
  readonly domain?: readonly string[];
  readonly range?: string;
  readonly kernelText?: boolean;
  readonly deny?: string;
  readonly allow?: string;
  readonly log?: boolean;
  readonly most?: string;
}

const MOST_LISTED = 4096;

export async function protect(io: Io, name: string, flags: ProtectFlags): Promise<number> {
  const most = flags.most === undefined ? 100 : parseCount(flags.most, '--most', 1, MOST_LISTED);
  const wish = wishOf(flags);
  await using machine = await connectMachine(name);
  if (wish !== undefined) {
    const { action, domains, rights } = wish;
    const range = wish.range ?? (await kernelText(machine));
    await machine.protect({ action, domains, rights, ...range });
    return 0;
  }
  if (flags.log === true) {
    const violations = await machine.violations(most);
    print(io, flags.format, violations, () => violations.map((one) => `${violationLine(one)}\n`).join(''));
    return 0;
  }
  const report = await machine.protection();
  print(io, flags.format, report, () => reportText(report));
  return 0;
}

interface Wish {
  readonly action: 'deny' | 'allow';
  readonly domains: readonly string[];
  readonly rights: string;
  /** None: where the kernel says that its text is. */
  readonly range: { readonly start: number; readonly end: number } | undefined;
}

/** What is to be changed; undefined: something is to be shown. */
function wishOf({ domain, range, kernelText, deny, allow, log }: ProtectFlags): Wish | undefined {
  const isChange = deny !== undefined || allow !== undefined;
  const isWhere = range !== undefined || kernelText === true;
  const usage = (what: string): OperatorError =>
    new OperatorError('bad-usage', what, 'Write it as "kage protect NAME --domain kernel --range ADDR+SIZE --deny w"');
  if (!isChange) {
    if (domain !== undefined || isWhere) throw usage('it is not said what to do there');
    return undefined;
  }
  if (deny !== undefined && allow !== undefined) throw usage('--deny and --allow are two changes');
  if (log === true) throw usage('--log shows, and changes nothing');
  if (domain === undefined) throw usage('it is not said whose rights are meant');
  if (!isWhere) throw usage('it is not said where');
  if (range !== undefined && kernelText === true) throw usage('--range and --kernel-text are two places');
  return {
    action: deny === undefined ? 'allow' : 'deny',
    domains: domain.flatMap((one) => one.split(',')),
    rights: deny ?? allow ?? '',
    range: range === undefined ? undefined : parseRange(range),
  };
}

/** As Linux lists its own resources: the line "80200000-80e0ffff : Kernel code". */
async function kernelText(machine: RemoteMachine): Promise<{ start: number; end: number }> {
  const { stdout } = await machine.exec(['cat', '/proc/iomem']);
  const [, range] = /^\s*([0-9a-f]+-[0-9a-f]+) : Kernel code$/m.exec(new TextDecoder().decode(stdout)) ?? [];
  if (range === undefined)
    throw new OperatorError(
      'no-kernel-text',
      'The guest does not say where its kernel lies',
      'Give the place with --range',
    );
  return parseRange(range);
}

function reportText({ domains, rules }: ProtectionReport): string {
  const head = ['domain', 'fetches', 'loads', 'stores', 'walks', 'updates'];
  const rows = domains.map(({ name, violations: { fetch, load, store, walk, update } }) =>
    [name, fetch, load, store, walk, update].map(String),
  );
  const denied = rules.map((rule) => [rule.domain, rule.denied, rule.start, rule.end]);
  const list = denied.length === 0 ? 'Nothing is denied.\n' : table(['domain', 'denied', 'from', 'below'], denied);
  return `${list}\nForbidden accesses:\n${table(head, rows)}`;
}

export const protectHelp = `
Without --deny and --allow it lists what is denied to whom, and how often it was tried. A domain is a
program that reaches memory: the guest's kernel, its user mode, its firmware, each device that does DMA.
What is denied is an access fault of the guest, or an error of the device; it is counted and logged. It
holds from the moment the command returns, on all harts, and for pages that get memory later, too.

ADDR is guest-physical and hexadecimal; END is the last byte, as in /proc/iomem, or the first byte behind.
SIZE is hexadecimal with 0x, or has a unit: 64K, 2M.

Examples:
  kage protect web                                             what is denied, what was tried
  kage protect web --domain kernel --kernel-text --deny w      nobody patches the kernel's code any more
  kage protect web --domain kernel,device:disk0 --range 0x8fe00000+2M --deny rwx
  kage protect web --domain user --range 8fe00000-8fe00fff --allow r
  kage protect web --log                                       who tried what, and where

docs/mechanisms/protection-tables.md says more.`;
