/** `kage fork`: twins of a machine that runs. */
import { OperatorError } from '../base/errors.ts';
import type { Io, Platform } from './io.ts';
import type { Format } from './output.ts';
import { machineOptions } from './run-options.ts';
import { parseCount } from './values.ts';

export interface ForkFlags {
  readonly name?: string;
  readonly count?: string;
  readonly publish?: readonly string[];
  readonly weight?: string;
  readonly cap?: string;
  readonly pin?: string;
  readonly quiesce?: boolean;
  readonly format: Format;
}

/** At a time; a machine has room for fewer, most likely. */
const MOST_TWINS = 255;

export async function fork(io: Io, platform: Platform, name: string, flags: ForkFlags): Promise<number> {
  const count = flags.count === undefined ? 1 : parseCount(flags.count, '--count', 1, MOST_TWINS);
  if (count > 1 && flags.publish !== undefined)
    throw new OperatorError('bad-usage', 'twins cannot have a port in common', 'Fork them one by one, a port each');
  const { name: given, publish, weight, cap, pin } = machineOptions(pickClaims(flags));
  const options = {
    ...(publish === undefined ? {} : { publish }),
    ...(weight === undefined ? {} : { weight }),
    ...(cap === undefined ? {} : { cap }),
    ...(pin === undefined ? {} : { pin }),
    ...(flags.quiesce ? { quiesce: true } : {}),
  };
  const twins = Array.from({ length: count }, (_, i) => ({
    ...options,
    ...(given === undefined ? {} : { name: count === 1 ? given : `${given}-${i + 1}` }),
  }));
  const api = await import('./partition-api.ts');
  return await api.fork(io, platform, name, twins, flags.format);
}

function pickClaims({ name, publish, weight, cap, pin }: ForkFlags) {
  return {
    ...(name === undefined ? {} : { name }),
    ...(publish === undefined ? {} : { publish }),
    ...(weight === undefined ? {} : { weight }),
    ...(cap === undefined ? {} : { cap }),
    ...(pin === undefined ? {} : { pin }),
  };
}

export const forkHelp = `
A twin begins where the machine stands, its running programs too, and shares its memory until one of the two writes. It
has other random numbers and another hardware address; it lives in the same process, beside the machine, and
goes on when that ends. The machine must have been started with "kage run --forks COUNT".

Examples:
  kage run -d -n web --forks 10
  kage fork web -n try && kage exec try -- sh -c 'rm -rf /srv' && kage kill try
  kage fork web --count 8`;
