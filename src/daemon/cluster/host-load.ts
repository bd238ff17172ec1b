/** Figures of this host, as the director asks for them: cores in use, what guests cost, standbys that could take over. */
import { readFileSync } from 'node:fs';
import type { Costs, Load } from '../../cluster/index.ts';
import type { ClusterMachines } from './cluster-machines.ts';

/** Over shorter times the figure is noise: the kernel counts in hundredths of a second. */
const LEAST_MS = 500;

export class HostLoad implements Load {
  readonly #machines: Pick<ClusterMachines, 'costs' | 'readyStandbys'>;
  readonly #read: () => string;
  #before: CpuTime;
  #used = 0;

  /** `read`: of /proc/stat. */
  constructor(
    machines: Pick<ClusterMachines, 'costs' | 'readyStandbys'>,
    read: () => string = () => readFileSync('/proc/stat', 'latin1'),
  ) {
    this.#machines = machines;
    this.#read = read;
    this.#before = cpuTime(read());
  }

  usedCores(): number {
    const now = cpuTime(this.#read());
    const ticks = now.all - this.#before.all;
    // All cores together count a hundred ticks a second each.
    if (ticks * 10 >= LEAST_MS * now.cores) {
      this.#used = Math.max(0, ((now.busy - this.#before.busy) / ticks) * now.cores);
      this.#before = now;
    }
    return this.#used;
  }

  costs(guest: string): Costs {
    return this.#machines.costs.of(guest);
  }

  readyStandbys(): readonly string[] {
    return this.#machines.readyStandbys();
  }
}

interface CpuTime {
  readonly busy: number;
  readonly all: number;
  readonly cores: number;
}

/** Ticks since boot of all cores, and how many there are (proc(5), stat): user nice system idle iowait irq softirq steal. */
function cpuTime(text: string): CpuTime {
  const [line = '', ...more] = text.split('\n');
  const ticks = line.trim().split(/\s+/).slice(1, 9).map(Number);
  const all = ticks.reduce((sum, one) => sum + one, 0);
  const [, , , idle = 0, waiting = 0] = ticks;
  const cores = more.filter((one) => /^cpu\d/.test(one)).length;
  return { busy: all - idle - waiting, all, cores: Math.max(1, cores) };
}
