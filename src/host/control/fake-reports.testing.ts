/** What a fake machine (fake-machine.testing.ts) says of itself. */
import { NetworkPaths } from '../../network/index.ts';
import type { AgentEvent, CodeExplanation, PciFunctionReport, Violation } from '../machine/machine-api.ts';

export const fakeFunction: PciFunctionReport = {
  ...{ id: 'net0', place: '00.0', kind: 'virtio-net-pci', interrupts: 'msix', messages: 7, asserts: 0 },
};

export function fakePaths(name: string): NetworkPaths {
  const clock = { nowMs: () => 0 };
  const timers = { after: () => ({ cancel: () => {} }) };
  let next = 0;
  const wallMs = (): number => Date.UTC(2026, 0, 1);
  const paths = new NetworkPaths({ clock, timers, random: () => (next += 1), wallMs });
  for (const id of ['lan0', 'lan1'])
    paths.addUplink({ name: id, kind: 'macvtap', network: 'lan', probing: 'none' }, { send: () => true });
  const link = { deliver: () => true, setLinkUp: () => {} };
  paths.addInterface({ name: `${name}/net0`, mac: 0x525400123456, uplinks: ['lan0', 'lan1'] }, link);
  return paths;
}

const at = '2026-01-01T00:00:00.000Z';
export const fakeCheck = { start: at, end: at, exitCode: 0, output: 'well\n' } as const;
export const fakeEvents: readonly AgentEvent[] = [
  { number: 1, at, kind: 'agent', from: 'none', to: 'kagemusha' },
  { number: 2, at, kind: 'health', from: 'starting', to: 'healthy' },
];

export const fakeRegion = { at: '0x80200000', number: 3, instructions: 2, entered: 12, module: 1 };

export const fakeExplanation: CodeExplanation = {
  ...{ hart: 0, pc: '0x80200000', mode: 'supervisor', level: 1, physical: '0x80200000', status: 'translated' },
  summary: 'Translated: region 3, 2 instructions, entered 12 times.',
  ...{ reached: 1200, thresholds: [1000, 16_000] },
  page: { at: '0x80200000', decoded: 40, hasOverlay: false, regions: [fakeRegion], touching: [3, 8] },
  region: fakeRegion,
  blocks: [
    {
      ...{ at: '0x80200000', depth: 0, ending: 'branch', reached: 1200 },
      instructions: [
        { at: '0x80200000', bits: '0505', text: 'c.addi a0, 1' },
        { at: '0x80200002', bits: 'fe051fe3', text: 'bne a0, zero, 0x80200000' },
      ],
      edges: [{ to: '0x80200000' }, { to: '0x80200006', leaves: 'never executed' }],
    },
  ],
  wasm: {
    ...{ of: 'region', isCurrent: true, bytes: 120 },
    lines: ['func $region3 (param $vcpu i32)', '  return $budget'],
  },
};

export const fakeViolation: Violation = {
  ...{ domain: 'kernel', by: 'supervisor', hart: 1, pc: '0x80200000', access: 'store', missing: 'w' },
  ...{ address: '0xffffffff80001000', physical: '0x80201000', frame: 4711 },
};

export const fakeNothing: CodeExplanation = {
  ...{
    hart: 0,
    pc: '0x0',
    mode: 'supervisor',
    level: 1,
    status: 'unmapped',
    summary: 'Nothing can be executed there.',
  },
  ...{ reached: 0, thresholds: [1000, 16_000], blocks: [] },
};
