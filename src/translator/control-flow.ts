/**
 * The shape of a region's control flow: an order of the blocks (reverse postorder), who dominates whom, where loops
 * begin. From it code is written with structured loops and blocks (Ramsey, "Beyond Relooper", 2022). Edges that enter
 * a loop elsewhere than at its head cannot be written so: they are cut, and leave the region.
 */
import { must } from '../base/assert.ts';
import { type Block, type Edge, type RegionGraph, successors } from './region-graph.ts';

export interface Place {
  readonly block: Block;
  /** In reverse postorder. */
  readonly number: number;
  /** The immediate dominator's number; the entry's is its own. */
  dominator: number;
  /** Blocks that this one dominates at once, in order. */
  readonly children: Place[];
  /** Something jumps back to here. */
  isLoop: boolean;
  /** Several forward edges lead here. */
  isMerge: boolean;
  /** Instructions until control must have come to a loop's head or out of the region, at the most. */
  longest: number;
}

export interface ControlFlow {
  readonly places: readonly Place[];
  place(block: Block): Place;
  /** Edges that were cut. */
  readonly cut: number;
}

export function analyse(graph: RegionGraph): ControlFlow {
  let cut = 0;
  for (;;) {
    const flow = order(graph.entry);
    const irreducible = findIrreducible(flow);
    if (irreducible.length === 0) {
      finish(flow);
      return { places: flow.places, place: (block) => must(flow.byBlock.get(block)), cut };
    }
    cut += irreducible.length;
    for (const { from, to } of irreducible) cutEdge(from.block, to.block);
  }
}

interface Order {
  readonly places: Place[];
  readonly byBlock: Map<Block, Place>;
}

function order(entry: Block): Order {
  const postorder: Block[] = [];
  const seen = new Set<Block>([entry]);
  const stack: { block: Block; next: readonly Block[]; index: number }[] = [
    { block: entry, next: successors(entry), index: 0 },
  ];
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const next = top.next[top.index++];
    if (next === undefined) {
      postorder.push(top.block);
      stack.pop();
    } else if (!seen.has(next)) {
      seen.add(next);
      stack.push({ block: next, next: successors(next), index: 0 });
    }
  }
  const places = postorder.reverse().map(
    (block, number): Place => ({
      block,
      number,
      dominator: number === 0 ? 0 : -1,
      children: [],
      isLoop: false,
      isMerge: false,
      longest: 0,
    }),
  );
  const byBlock = new Map(places.map((place) => [place.block, place]));
  dominate(places, byBlock);
  return { places, byBlock };
}

/** Cooper, Harvey, Kennedy: "A Simple, Fast Dominance Algorithm". */
function dominate(places: readonly Place[], byBlock: ReadonlyMap<Block, Place>): void {
  const before: number[][] = places.map(() => []);
  for (const { block, number } of places)
    for (const next of successors(block)) must(before[must(byBlock.get(next)).number]).push(number);
  const meet = (a: number, b: number): number => {
    let [one, two] = [a, b];
    while (one !== two) {
      while (one > two) one = must(places[one]).dominator;
      while (two > one) two = must(places[two]).dominator;
    }
    return one;
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (const place of places) {
      if (place.number === 0) continue;
      let dominator = -1;
      for (const number of must(before[place.number])) {
        if (must(places[number]).dominator < 0) continue;
        dominator = dominator < 0 ? number : meet(dominator, number);
      }
      if (place.dominator !== dominator) {
        place.dominator = dominator;
        changed = true;
      }
    }
  }
}

function dominates(flow: Order, above: number, below: number): boolean {
  let number = below;
  while (number > above) number = must(flow.places[number]).dominator;
  return number === above;
}

function findIrreducible(flow: Order): { from: Place; to: Place }[] {
  const out: { from: Place; to: Place }[] = [];
  for (const from of flow.places) {
    for (const next of successors(from.block)) {
      const to = must(flow.byBlock.get(next));
      if (to.number <= from.number && !dominates(flow, to.number, from.number)) out.push({ from, to });
    }
  }
  return out;
}

function cutEdge(from: Block, to: Block): void {
  const cut = (edge: Edge): Edge =>
    edge.kind === 'block' && edge.to === to ? { kind: 'exit', offset: to.offset } : edge;
  const { ending } = from;
  switch (ending.kind) {
    case 'goto':
      from.ending = { kind: 'goto', edge: cut(ending.edge) };
      return;
    case 'branch':
      from.ending = { kind: 'branch', taken: cut(ending.taken), fallen: cut(ending.fallen) };
      return;
    case 'register':
      from.ending = { kind: 'register', guesses: ending.guesses.filter((guess) => guess.to !== to) };
      return;
  }
}

function finish(flow: Order): void {
  const { places, byBlock } = flow;
  const forward = places.map(() => 0);
  for (const place of places) {
    if (place.number > 0) must(places[place.dominator]).children.push(place);
    for (const next of successors(place.block)) {
      const to = must(byBlock.get(next));
      if (to.number <= place.number) to.isLoop = true;
      else forward[to.number] = must(forward[to.number]) + 1;
    }
  }
  for (const place of places) place.isMerge = must(forward[place.number]) > 1;
  for (const place of places.toReversed()) {
    let after = 0;
    for (const next of successors(place.block)) {
      const to = must(byBlock.get(next));
      if (!to.isLoop) after = Math.max(after, to.longest);
    }
    place.longest = place.block.instructions.length + after;
  }
}
