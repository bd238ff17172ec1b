/**
 * Partitions in YAML: a map of names, each a map whose keys are the flags of `kage run` in their long form, with compose's names
 * where people know them (`ports`, `mem_limit`). Whatever is wrong is told with its file and line. Paths are relative to the
 * file.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, type YAMLMap } from 'yaml';
import { OperatorError } from '../base/errors.ts';
import type { DeclareRequest, Failover } from '../client/index.ts';
import { checkMachineName } from '../host/index.ts';
import { requirement } from './failover-flags.ts';
import { specOf } from './partition-api.ts';
import { machineOptions, type RunFlags, withPaths } from './run-options.ts';
import { parseRestart } from './values.ts';

export interface Declaration extends DeclareRequest {
  readonly name: string;
}

/** How a key's value is handed to the flag: text, a list of it, a switch that stands for itself. */
type Kind = 'text' | 'list' | 'switch' | 'truth';

const KEYS: Readonly<Record<string, readonly [keyof RunFlags, Kind]>> = {
  ...text('cpus', 'processors', 'weight', 'cap', 'pin', 'memory', 'forks', 'cpu', 'kernel', 'initrd', 'append', 'bios'),
  ...text(
    'heartbeat',
    'agent',
    'network',
    'mac',
    'failback',
    'vsock',
    'clock',
    'seed',
    'gdb',
    'shadows',
    'aia',
    'promotion',
  ),
  'code-memory': ['codeMemory', 'text'],
  'asid-bits': ['asidBits', 'text'],
  'aia-guests': ['aiaGuests', 'text'],
  'shadow-model': ['shadowModel', 'text'],
  'hot-threshold': ['hotThreshold', 'text'],
  'interrupt-rate': ['interruptRate', 'text'],
  'health-cmd': ['healthCmd', 'text'],
  'health-interval': ['healthInterval', 'text'],
  'health-timeout': ['healthTimeout', 'text'],
  'health-retries': ['healthRetries', 'text'],
  'health-start-period': ['healthStartPeriod', 'text'],
  'health-start-interval': ['healthStartInterval', 'text'],
  'trap-log': ['trapLog', 'text'],
  'protection-log': ['protectionLog', 'text'],
  drives: ['drive', 'list'],
  netdevs: ['netdev', 'list'],
  ports: ['publish', 'list'],
  volumes: ['volume', 'list'],
  traps: ['trap', 'list'],
  translate: ['translate', 'switch'],
  balloon: ['balloon', 'switch'],
  pci: ['pci', 'switch'],
  overlay: ['overlay', 'switch'],
  nested: ['nested', 'switch'],
  relay: ['relay', 'switch'],
  protection: ['protection', 'switch'],
  'combined-shadows': ['combinedShadows', 'switch'],
  'path-failover': ['pathFailover', 'switch'],
  'boot-snapshot': ['bootSnapshot', 'switch'],
  snapshot: ['snapshot', 'truth'],
  'start-paused': ['startPaused', 'truth'],
};
/** Other names of keys: the flags' own, and compose's. */
const ALIASES: Readonly<Record<string, string>> = {
  volume: 'volumes',
  ...{ drive: 'drives', netdev: 'netdevs', publish: 'ports', trap: 'traps' },
  ...{ mem_limit: 'memory', cpu_shares: 'weight', cpuset: 'pin', mac_address: 'mac', network_mode: 'network' },
};

function text(...names: (keyof RunFlags & string)[]): Record<string, readonly [keyof RunFlags, Kind]> {
  return Object.fromEntries(names.map((name) => [name, [name, 'text'] as const]));
}

/** A file, or all `.yaml` and `.yml` of a folder. Errors: `bad-config`, with the line. */
export function readPartitionFiles(path: string): Declaration[] {
  const all = filesOf(path).flatMap((file) => new PartitionFile(file).read());
  const twice = all.find(({ name }, i) => all.findIndex((one) => one.name === name) !== i);
  if (twice !== undefined)
    throw new OperatorError('bad-config', `${path}: ${twice.name} is declared twice`, 'Declare it once');
  return all;
}

function filesOf(path: string): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    const files = readdirSync(path).filter((name) => /\.ya?ml$/.test(name));
    return files.sort().map((name) => join(path, name));
  } catch (cause) {
    throw new OperatorError('bad-config', `${path} cannot be read`, 'Name a YAML file, or a folder of them', { cause });
  }
}

class PartitionFile {
  readonly #path: string;
  readonly #lines = new LineCounter();
  readonly #base: string;

  constructor(path: string) {
    this.#path = path;
    this.#base = dirname(resolve(path));
  }

  read(): Declaration[] {
    const document = parseDocument(readFileSync(this.#path, 'utf8'), { lineCounter: this.#lines, prettyErrors: false });
    const [error] = document.errors;
    if (error !== undefined)
      throw this.#wrong(error.pos[0], error.message.split('\n', 1)[0] ?? '', 'Put its YAML right');
    if (document.contents === null) return [];
    const top = this.#map(document.contents as Node, 'the file');
    const declarations: Declaration[] = [];
    for (const [key, value, at] of this.#entries(top)) {
      if (key !== 'partitions')
        throw this.#wrong(at, `there is no ${key} on the top level`, 'Begin with "partitions:"');
      for (const [name, body, where] of this.#entries(this.#map(value, key)))
        declarations.push(this.#declaration(name, this.#map(body, name), where));
    }
    return declarations;
  }

  #declaration(name: string, body: YAMLMap, at: number): Declaration {
    this.#at(at, () => checkMachineName(name));
    let flags: RunFlags = {};
    let image: string | undefined;
    let restart: string | undefined;
    let failover: Failover | undefined;
    for (const [given, value, where] of this.#entries(body)) {
      const key = ALIASES[given] ?? given;
      if (key === 'image') image = this.#text(value, given, where);
      else if (key === 'restart') restart = this.#restart(value, given, where);
      else if (key === 'failover') failover = this.#failover(value, where);
      else {
        const own = this.#flag(key, given, value, where);
        // What says how health is checked says nothing without the check itself: it is looked at with the whole.
        if (!key.startsWith('health-')) this.#at(where, () => machineOptions(own, this.#base));
        flags = { ...flags, ...own };
      }
    }
    if (image === undefined && flags.kernel === undefined && flags.bios === undefined)
      throw this.#wrong(at, `${name} names nothing that could be started`, 'Give it an image, a kernel or a bios');
    const options = this.#at(at, () => withPaths(machineOptions(flags, this.#base), this.#base));
    return {
      name,
      spec: specOf({ image, options, failover }),
      ...(restart === undefined ? {} : { restartPolicy: parseRestart(restart) }),
    };
  }

  #flag(key: string, given: string, value: Node | null, at: number): Partial<RunFlags> {
    const row = KEYS[key];
    if (row === undefined) {
      const near = [...Object.keys(KEYS), 'image', 'restart', 'failover'].find((one) => isNear(one, given));
      throw this.#wrong(
        at,
        `partitions have no ${given}`,
        near === undefined ? 'See docs/daemon.md' : `Is it ${near}?`,
      );
    }
    const [flag, kind] = row;
    switch (kind) {
      case 'text':
        // `off`, and what else YAML takes for a truth.
        if (isScalar(value) && typeof value.value === 'boolean') return { [flag]: value.value ? 'on' : 'off' };
        return { [flag]: this.#text(value, given, at) };
      case 'list':
        return { [flag]: this.#list(value, given, at) };
      case 'switch':
        return { [flag]: this.#truth(value, given, at) ? 'on' : 'off' };
      case 'truth':
        return { [flag]: this.#truth(value, given, at) };
    }
  }

  /** `on`, or a map whose keys are those of `--failover`; commands are a list of words, or a line of a shell. */
  #failover(value: Node | null, at: number): Failover {
    if (!isMap(value)) {
      if (this.#truth(value, 'failover', at)) return {};
      throw this.#wrong(at, 'failover is off', 'Leave it out: without it a partition is of this host alone');
    }
    const failover: Failover = {};
    for (const [given, inner, where] of this.#entries(value)) {
      const key = given.replaceAll('_', '-');
      Object.assign(
        failover,
        this.#at(where, () => this.#requirement(key, given, inner, where)),
      );
    }
    return failover;
  }

  #requirement(key: string, given: string, value: Node | null, at: number): Failover {
    if (!isSeq(value)) return requirement(key, this.#text(value, given, at));
    const words = this.#list(value, given, at);
    if (key === 'methods') return requirement(key, words.join('+'));
    if (key === 'restart-command') return { restartCommand: words };
    if (key === 'take-over-command') return { takeOverCommand: words };
    throw this.#wrong(at, `${given} is no list`, `Write "${given}: VALUE"`);
  }

  #restart(value: Node | null, given: string, at: number): string {
    // `no` is false in YAML's first version, and people write it without quotes.
    const text = isScalar(value) && value.value === false ? 'no' : this.#text(value, given, at);
    this.#at(at, () => parseRestart(text));
    return text;
  }

  /** A scalar as it was written: `0x10` and `1.50` stay what they are. */
  #text(value: Node | null, key: string, at: number): string {
    if (!isScalar(value) || value.value === null) throw this.#wrong(at, `${key} is no text`, `Write "${key}: VALUE"`);
    return typeof value.value === 'string' ? value.value : (value.source ?? String(value.value));
  }

  #list(value: Node | null, key: string, at: number): string[] {
    if (isScalar(value) && value.value !== null) return [this.#text(value, key, at)];
    if (!isSeq(value)) throw this.#wrong(at, `${key} is no list`, `Write "${key}: [VALUE, VALUE]"`);
    return (value.items as (Node | null)[]).map((item) => {
      if (isMap(item)) return this.#pairs(item);
      return this.#text(item, `an item of ${key}`, item?.range?.[0] ?? at);
    });
  }

  /** `{file: disk.img, readonly: on}` as the flag has it: `file=disk.img,readonly=on`. */
  #pairs(map: YAMLMap): string {
    return this.#entries(map)
      .map(([key, value, at]) => {
        if (key === 'kind') return this.#text(value, key, at);
        const truth = isScalar(value) && typeof value.value === 'boolean' ? (value.value ? 'on' : 'off') : undefined;
        return `${key}=${(truth ?? this.#text(value, key, at)).replaceAll(',', ',,')}`;
      })
      .join(',');
  }

  #truth(value: Node | null, key: string, at: number): boolean {
    const given = isScalar(value) ? value.value : undefined;
    if (given === true || given === 'on' || given === 'yes') return true;
    if (given === false || given === 'off' || given === 'no') return false;
    throw this.#wrong(at, `${key} is neither on nor off`, `Write "${key}: on" or "${key}: off"`);
  }

  #map(node: Node | null, what: string): YAMLMap {
    if (isMap(node)) return node;
    throw this.#wrong(
      node?.range?.[0] ?? 0,
      `${what} is no map`,
      'Write "partitions:", names below it, and keys below them',
    );
  }

  /** Key, value, and where the key stands. */
  #entries(map: YAMLMap): [string, Node | null, number][] {
    return map.items.map(({ key, value }) => {
      const at = (key as Node).range?.[0] ?? 0;
      if (!isScalar(key)) throw this.#wrong(at, 'a key is no text', 'Write "key: value"');
      return [String(key.value), value as Node | null, at];
    });
  }

  #at<T>(at: number, body: () => T): T {
    try {
      return body();
    } catch (error) {
      if (error instanceof OperatorError) throw this.#wrong(at, error.message, error.fix);
      throw error;
    }
  }

  #wrong(at: number, message: string, fix: string): OperatorError {
    const { line } = this.#lines.linePos(at);
    return new OperatorError('bad-config', `${this.#path}:${line}: ${message}`, fix);
  }
}

/** One letter more, less, or other. */
function isNear(a: string, b: string): boolean {
  if (Math.abs(a.length - b.length) > 1) return false;
  let same = 0;
  while (same < a.length && a[same] === b[same]) same += 1;
  return [a.slice(same), a.slice(same + 1)].some((rest) => rest === b.slice(same) || rest === b.slice(same + 1));
}
