/**
 * How a host's cores are divided: first everybody's floor, then the rest by weight, up to what each could use. So a guest
 * that comes after a failure has what it was promised, on a host that was busy already; the others give, down to their floors.
 */
export interface ShareWish {
  readonly guest: string;
  readonly cores: number;
  /** 0 to 1. */
  readonly floor: number;
  readonly weight: number;
}

/** Cores for each. Where the floors alone are more than the host has, all are cut alike. */
export function shares(wishes: readonly ShareWish[], hostCores: number): Map<string, number> {
  const given = new Map<string, number>();
  const floors = wishes.reduce((sum, { cores, floor }) => sum + cores * floor, 0);
  const cut = floors > hostCores ? hostCores / floors : 1;
  for (const { guest, cores, floor } of wishes) given.set(guest, cores * floor * cut);
  let rest = hostCores - floors * cut;
  let open = wishes.filter(({ floor }) => floor < 1);
  while (rest > 1e-9 && open.length > 0) {
    const weights = open.reduce((sum, { weight }) => sum + weight, 0);
    const part = rest;
    rest = 0;
    const still: ShareWish[] = [];
    for (const wish of open) {
      const has = given.get(wish.guest) ?? 0;
      const more = (part * wish.weight) / weights;
      const most = wish.cores - has;
      given.set(wish.guest, has + Math.min(more, most));
      if (more >= most) rest += more - most;
      else still.push(wish);
    }
    open = still;
  }
  return given;
}
