/** The flags by which a partition is the cluster's to keep up, and what it needs of it. */
import type { Command } from 'commander';
import { OperatorError } from '../base/errors.ts';
import type { Failover } from '../client/index.ts';
import { parseCount, parseDuration } from './values.ts';

export interface FailoverFlags {
  /** True: without a value. */
  readonly failover?: string | true;
  readonly method?: string;
}

const METHODS = ['cold', 'warm', 'hot', 'pair'] as const;
type Method = (typeof METHODS)[number];

export function addFailover(command: Command): Command {
  return command
    .option(
      '--failover [requirement=value,...]',
      'the cluster keeps it up: recovery-time=5s, data-loss=0, performance-floor=0.5, priority=10, group=NAME, ' +
        'methods=cold+hot, gate=tls:HOST:PORT, restart-command=COMMAND, take-over-command=COMMAND',
    )
    .option('--method <auto|fixed:method>', 'auto: the cluster selects cold, warm or hot; or fixed:hot and so on');
}

/**
 * What the flags say. `--failover debian` is the flag without a value, and the image behind it: a value has an equals sign.
 * Throws OperatorError `bad-usage`.
 */
export function failoverOf(
  image: string | undefined,
  { failover: given, method }: FailoverFlags,
): { readonly image: string | undefined; readonly failover?: Failover } {
  const isImage = typeof given === 'string' && !given.includes('=');
  if (isImage && image !== undefined)
    throw bad(`--failover ${given} is no requirement`, 'Write it as --failover recovery-time=5s,data-loss=0');
  const named = isImage ? given : image;
  if (given === undefined) {
    if (method === undefined) return { image: named };
    throw bad('--method is of a partition that the cluster keeps up', 'Add --failover');
  }
  const requirements = typeof given === 'string' && !isImage ? parseFailover(given) : {};
  return {
    image: named,
    failover: { ...requirements, ...(method === undefined ? {} : { method: parseMethod(method) }) },
  };
}

/** `recovery-time=5s,data-loss=0`; in a value, a comma is doubled. */
export function parseFailover(value: string): Failover {
  let failover: Failover = {};
  for (const part of value.replaceAll(',,', '\0').split(',')) {
    const [, key = part, text = ''] = /^([a-z-]+)=(.*)$/s.exec(part) ?? [];
    failover = { ...failover, ...requirement(key, text.replaceAll('\0', ',')) };
  }
  return failover;
}

/** What a key of `--failover` says. */
export function requirement(key: string, text: string): Failover {
  const flag = `--failover ${key}`;
  switch (key) {
    case 'recovery-time':
      return { recoveryTimeMs: parseDuration(text, flag) };
    case 'data-loss':
      return { dataLossMs: parseDuration(text, flag) };
    case 'performance-floor':
      return { performanceFloor: parsePart(text, flag) };
    case 'priority':
      return { priority: parseCount(text, flag, 0, 1_000_000) };
    case 'group':
      return { group: text };
    case 'methods':
      return { methods: text.split('+').map(methodOf) };
    case 'method':
      return { method: parseMethod(text) };
    case 'gate':
      if (/^(unix:\/.+|tls:.+:\d{1,5})$/s.test(text)) return { gate: text };
      throw bad(`${flag}=${text} is no control of a gate`, 'Write it as gate=tls:HOST:PORT or gate=unix:/PATH');
    case 'restart-command':
      return { restartCommand: ['/bin/sh', '-c', text] };
    case 'take-over-command':
      return { takeOverCommand: ['/bin/sh', '-c', text] };
    default:
      throw bad(
        `--failover does not know ${key}`,
        'It takes recovery-time=, data-loss=, performance-floor=, priority=, group=, methods=, gate=, restart-command= and take-over-command=',
      );
  }
}

/** `0.5`, `50%`. */
function parsePart(text: string, flag: string): number {
  const [, digits = '', percent] = /^(\d*\.?\d+)(%?)$/.exec(text) ?? [];
  const part = Number(digits) / (percent === '%' ? 100 : 1);
  if (digits !== '' && part <= 1) return part;
  throw bad(`${flag}=${text} is no part of a whole`, 'Write it as 0.5 or 50%');
}

export function parseMethod(text: string): NonNullable<Failover['method']> {
  if (text === 'auto') return 'auto';
  const [, name = ''] = /^fixed:(.*)$/.exec(text) ?? [];
  if (!text.startsWith('fixed:'))
    throw bad(`--method ${text} is not possible`, `Choose auto, or fixed:${METHODS.join(', fixed:')}`);
  return `fixed:${methodOf(name)}`;
}

function methodOf(text: string): Method {
  const method = METHODS.find((one) => one === text);
  if (method === undefined) throw bad(`there is no method ${text}`, `Choose of ${METHODS.join(', ')}`);
  return method;
}

function bad(what: string, fix: string): OperatorError {
  return new OperatorError('bad-usage', what, fix);
}
