/**
 * The network mapping as a drawing's geometry: interfaces to the left, uplinks to the right, a line for each uplink that an
 * interface may use; the one in force is drawn through. Pure; net-view.ts makes SVG of it.
 */
import type { NetReport } from '../../client/index.ts';

export const NODE = { width: 190, height: 58, gap: 22, across: 210 } as const;

export interface DrawnNode {
  readonly name: string;
  readonly title: string;
  readonly detail: string;
  /** `up`, `recovering`, `warming`, `silent`, `down`. */
  readonly condition: string;
  readonly x: number;
  readonly y: number;
}

export interface DrawnLine {
  readonly from: string;
  readonly to: string;
  /** `in-force`: carries the frames; `ready`: could; `failed`: could not now. */
  readonly kind: 'in-force' | 'ready' | 'failed';
  /** 1: the preferred one. */
  readonly rank: number;
  readonly path: string;
}

export interface NetDrawing {
  readonly width: number;
  readonly height: number;
  readonly interfaces: readonly DrawnNode[];
  readonly uplinks: readonly DrawnNode[];
  readonly lines: readonly DrawnLine[];
  /** For who does not see it. */
  readonly sentence: string;
}

export function netDrawing({ interfaces, uplinks }: Pick<NetReport, 'interfaces' | 'uplinks'>): NetDrawing {
  const rows = Math.max(interfaces.length, uplinks.length, 1);
  const height = rows * (NODE.height + NODE.gap) + NODE.gap;
  const yOf = (index: number, of: number): number => {
    const whole = of * (NODE.height + NODE.gap) - NODE.gap;
    return (height - whole) / 2 + index * (NODE.height + NODE.gap);
  };
  const left: DrawnNode[] = interfaces.map((one, i) => ({
    ...{ name: one.name, title: one.name, detail: one.mac ?? one.network },
    ...{ condition: one.linkUp ? 'up' : 'down', x: 1, y: yOf(i, interfaces.length) },
  }));
  const right: DrawnNode[] = uplinks.map((one, i) => ({
    ...{ name: one.name, title: one.name, detail: `${one.kind} · ${one.condition}`, condition: one.condition },
    ...{ x: NODE.width + NODE.across, y: yOf(i, uplinks.length) },
  }));
  const lines = interfaces.flatMap((one, i) =>
    one.uplinks.flatMap((name, rank) => {
      const [from, to] = [left[i], right.find((uplink) => uplink.name === name)];
      if (from === undefined || to === undefined) return [];
      const isUsable = to.condition !== 'down' && to.condition !== 'silent';
      const kind = one.inForce === name ? 'in-force' : isUsable ? 'ready' : 'failed';
      return [{ from: one.name, to: name, kind, rank: rank + 1, path: curve(from, to) } as const];
    }),
  );
  return {
    ...{ width: 2 * NODE.width + NODE.across + 2, height, interfaces: left, uplinks: right, lines },
    sentence: sentenceOf(interfaces, uplinks),
  };
}

function curve(from: DrawnNode, to: DrawnNode): string {
  const [x1, y1] = [from.x + NODE.width, from.y + NODE.height / 2];
  const [x2, y2] = [to.x, to.y + NODE.height / 2];
  const half = (x1 + x2) / 2;
  return `M${x1} ${y1}C${half} ${y1} ${half} ${y2} ${x2} ${y2}`;
}

function sentenceOf(interfaces: NetReport['interfaces'], uplinks: NetReport['uplinks']): string {
  if (interfaces.length === 0) return 'There is no interface.';
  const mapped = interfaces.map(({ name, inForce, why }) =>
    inForce === undefined ? `${name} has no path (${why})` : `${name} uses ${inForce} (${why})`,
  );
  const failed = uplinks.filter(({ condition }) => condition === 'down' || condition === 'silent');
  const trouble = failed.map(({ name, condition }) => `${name} is ${condition}`);
  return `${[...mapped, ...trouble].join('; ')}.`;
}
