/**
 * From samples to figures: medians over the runs, QEMU's time over ours for each workload, geometric means for each
 * class. A ratio above 10 counts as 10 in the capped mean, so that one odd workload does not carry its class; the
 * mean without the cap stands beside it.
 */
import { must } from '../src/base/assert.ts';
import { HostError } from '../src/base/errors.ts';
import { type BenchClass, classes, classOf } from './classes.ts';
import type { Sample, Session, Side } from './measure.ts';

/** Both machines' runs of the same guests. */
export type Runs = Readonly<Record<Side, readonly Session[]>>;

export interface WorkloadResult {
  readonly workload: string;
  readonly iterations: number;
  readonly checksum: string;
  readonly qemuSeconds: number;
  readonly ourSeconds: number;
  readonly ratio: number;
  /** The same ratio of processor times, from beginning to result: what a busy host disturbs less. */
  readonly cpuRatio: number;
  readonly ourCpuSeconds: number;
  /** Million instructions per second of processor time of ours, from beginning to result. */
  readonly ourMips: number;
}

export interface ClassResult {
  readonly name: string;
  readonly title: string;
  readonly floor: number;
  readonly goal: number;
  readonly geometricMean: number;
  readonly uncappedMean: number;
  /** Geometric mean of the ratios of processor times, capped. */
  readonly cpuMean: number;
  readonly least: number;
  readonly workloads: readonly WorkloadResult[];
}

export interface Results {
  readonly classes: readonly ClassResult[];
  readonly qemuPeakBytes: number;
  readonly ourPeakBytes: number;
  /** Million instructions per second over all integer workloads together; undefined where none ran. */
  readonly integerMips: number | undefined;
}

export const ratioCap = 10;
/** Processor times are read when a line arrives: shorter ones say nothing, and the guest's clock stands for them. */
const cpuLeastSeconds = 0.02;

/** Figures of the runs. Throws HostError `bench-checksum` where the machines (or two runs) disagree. */
export function evaluate(runs: Runs, list: readonly BenchClass[] = classes): Results {
  const all = must(runs.ours[0]).samples.map((sample) => evaluateWorkload(sample.workload, runs));
  const integers = all.filter((one) => classOf(one.workload) === 'integer');
  const seconds = sum(integers.map((one) => one.ourCpuSeconds));
  return {
    classes: list
      .map((one) => ({ ...one, workloads: all.filter((result) => classOf(result.workload) === one.name) }))
      .filter((one) => one.workloads.length > 0)
      .map((one) => {
        const ratios = one.workloads.map((result) => result.ratio);
        return {
          ...one,
          geometricMean: geometricMean(ratios.map((ratio) => Math.min(ratio, ratioCap))),
          uncappedMean: geometricMean(ratios),
          cpuMean: geometricMean(one.workloads.map((result) => Math.min(result.cpuRatio, ratioCap))),
          least: Math.min(...ratios),
        };
      }),
    qemuPeakBytes: Math.max(...runs.qemu.map((session) => session.peakBytes)),
    ourPeakBytes: Math.max(...runs.ours.map((session) => session.peakBytes)),
    integerMips: seconds > 0 ? sum(integers.map((one) => one.ourMips * one.ourCpuSeconds)) / seconds : undefined,
  };
}

function evaluateWorkload(workload: string, runs: Runs): WorkloadResult {
  const of = (side: Side): Sample[] =>
    runs[side].map((session) =>
      must(
        session.samples.find((sample) => sample.workload === workload),
        `${workload} did not run on both sides`,
      ),
    );
  const [ours, qemu] = [of('ours'), of('qemu')];
  const { checksum, iterations } = must(ours[0]);
  for (const sample of [...ours, ...qemu]) {
    if (sample.checksum === checksum && sample.iterations === iterations) continue;
    const values = [...ours, ...qemu].map((one) => one.checksum).join(', ');
    throw new HostError('bench-checksum', `${workload} gave different results: ${values} (ours first)`);
  }
  const qemuSeconds = median(qemu.map((sample) => sample.seconds));
  const ourSeconds = median(ours.map((sample) => sample.seconds));
  const ratio = qemuSeconds / ourSeconds;
  const qemuCpuSeconds = median(qemu.map(cpuSeconds));
  const ourCpuSeconds = median(ours.map(cpuSeconds));
  return {
    ...{ workload, iterations, checksum, qemuSeconds, ourSeconds, ratio },
    cpuRatio: Math.min(qemuCpuSeconds, ourCpuSeconds) < cpuLeastSeconds ? ratio : qemuCpuSeconds / ourCpuSeconds,
    ourCpuSeconds,
    ourMips: median(ours.map((sample) => (sample.instructions ?? 0) / cpuSeconds(sample) / 1e6)),
  };
}

/** Where the host does not tell processor time, all of the time counts. */
function cpuSeconds(sample: Sample): number {
  return sample.cpuSeconds > 0 ? sample.cpuSeconds : sample.wholeSeconds;
}

/**
 * The bounds of the present stage that the results break, a sentence each. The way to the shell breaks its bound only
 * if the host's clock and the processor time agree on it: the first alone may be the doing of others on the host.
 */
export function brokenBounds(results: Results): string[] {
  const broken: string[] = [];
  const { integerMips } = results;
  if (integerMips !== undefined && integerMips < 200) {
    broken.push(`integer code runs at ${integerMips.toFixed(0)} million instructions per second, less than 200`);
  }
  const boot = results.classes.find((one) => one.name === 'boot');
  const share = boot ? Math.max(boot.geometricMean, boot.cpuMean) : 1;
  if (share < 1 / 4) {
    broken.push(`the shell takes ${(1 / share).toFixed(1)} times QEMU's time, more than 4`);
  }
  return broken;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = must(sorted[sorted.length >> 1]);
  return sorted.length % 2 === 1 ? upper : (upper + must(sorted[(sorted.length >> 1) - 1])) / 2;
}

export function geometricMean(values: readonly number[]): number {
  return Math.exp(sum(values.map(Math.log)) / values.length);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
