/** What the values of flags mean: sizes, disks, networks, environment. Each parser's error says what would do. */
import { resolve } from 'node:path';
import { OperatorError } from '../base/errors.ts';
import type { RestartPolicy } from '../client/index.ts';
import type { DriveOptions, MachineOptions, NetdevOptions, ShareOptions } from '../host/index.ts';
import { parseNetdevOptions, parseUserNetdev } from '../network/index.ts';

type ShadowModel = NonNullable<MachineOptions['shadowModel']>;
type Aia = NonNullable<MachineOptions['aia']>;
type Failback = NonNullable<MachineOptions['failback']>;
type PromotionMode = NonNullable<MachineOptions['promotion']>;

const units: Readonly<Record<string, number>> = { b: 1, k: 1 << 10, m: 1 << 20, g: 1 << 30, t: 2 ** 40 };

function bad(what: string, fix: string): OperatorError {
  return new OperatorError('bad-usage', what, fix);
}

/** `512M`, `1G`, `1.5g`; a bare number counts MiB, as in QEMU. In bytes. */
export function parseSize(value: string, flag: string): number {
  const match = /^(\d+(?:\.\d+)?)([bkmgt]?)(?:i?b)?$/i.exec(value.replace(/^size=/, ''));
  const bytes = match === null ? Number.NaN : Number(match[1]) * (units[(match[2] || 'm').toLowerCase()] ?? 1);
  if (!Number.isSafeInteger(bytes) || bytes <= 0) {
    throw bad(`${flag} ${value} is not a size`, 'Write it as 512M or 2G');
  }
  return bytes;
}

export function parseCount(value: string, flag: string, least: number, most: number): number {
  const number = /^\d+$/.test(value) ? Number(value) : Number.NaN;
  if (number >= least && number <= most) return number;
  throw bad(`${flag} ${value} is not a number from ${least} to ${most}`, `Give one, as in "${flag} ${least}"`);
}

/** As docker writes times: `500ms`, `30s`, `1m30s`, `2h`; 0 needs no unit. In milliseconds. */
export function parseDuration(value: string, flag: string): number {
  const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  const parts = [...value.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  const isWhole = parts.length > 0 && parts.map(([part]) => part).join('') === value;
  if (value === '0') return 0;
  if (isWhole)
    return Math.round(parts.reduce((sum, [, count, unit = '']) => sum + Number(count) * (unitMs[unit] ?? 0), 0));
  throw bad(`${flag} ${value} is not a time`, 'Write it as 500ms, 30s or 1m30s');
}

/** Processors' worth of time: `0.5`, `2`. */
export function parseCap(value: string, flag: string): number {
  if (/^\d*\.?\d+$/.test(value) && Number(value) > 0) return Number(value);
  throw bad(`${flag} ${value} is not a number of processors`, `Write it as "${flag} 0.5" for half of one`);
}

/** Processors by number: `0`, `0,2`, `0-3,6`. */
export function parseProcessors(value: string, flag: string): number[] {
  return value.split(',').flatMap((part) => {
    const [, first = '', last = first] = /^(\d{1,3})(?:-(\d{1,3}))?$/.exec(part) ?? [];
    if (first === '' || Number(last) < Number(first))
      throw bad(`${flag} ${value} names no processors`, `Write it as "${flag} 0,2" or "${flag} 0-3"`);
    return Array.from({ length: Number(last) - Number(first) + 1 }, (_, i) => Number(first) + i);
  });
}

/** `0xffffffff80003a5c`, or without 0x as in /proc/kallsyms: hexadecimal either way. */
export function parseAddress(value: string): bigint {
  const [, digits] = /^(?:0x)?([0-9a-f]{1,16})$/i.exec(value) ?? [];
  if (digits === undefined) throw bad(`${value} is not an address`, 'Write it in hexadecimal, as 0xffffffff80003a5c');
  return BigInt(`0x${digits}`);
}

/**
 * `0x80200000`, `80200000-803fffff` (as in /proc/iomem), `0x80200000+2M`: guest-physical bytes, of which the whole pages
 * are meant that hold them.
 */
export function parseRange(value: string): { readonly start: number; readonly end: number } {
  const wrong = bad(`${value} is no range of memory`, 'Write it as 0x80200000, 0x80200000-0x803fffff or 0x80200000+2M');
  const [, from = '', sign, to = ''] = /^((?:0x)?[0-9a-f]+)(?:([-+])(\w+))?$/i.exec(value) ?? [];
  const hex = (digits: string): number => (/^(?:0x)?[0-9a-f]{1,13}$/i.test(digits) ? Number.parseInt(digits, 16) : -1);
  const page = 4096;
  const first = hex(from);
  const sizeBytes = /^0x/i.test(to) ? hex(to) : /[bkmg]$/i.test(to) && sign === '+' ? parseSize(to, 'the size') : -1;
  const end = sign === undefined ? first + 1 : sign === '-' ? hex(to) : sizeBytes < 0 ? -1 : first + sizeBytes;
  if (first < 0 || end < first || end >= 2 ** 52) throw wrong;
  const start = Math.floor(first / page) * page;
  return { start, end: Math.max(Math.ceil(end / page) * page, start + page) };
}

/** Seconds to wait for a guest's agent; undefined: for as long as it takes. */
export function parseWait(value: string | undefined): number | undefined {
  return value === undefined ? undefined : parseCount(value, '--wait', 1, 86_400);
}

/** `file=disk.img,format=qcow2,readonly=on,snapshot=on`, or just the file. In a file's name, a comma is doubled. */
export function parseDrive(value: string): DriveOptions {
  let drive: DriveOptions = { file: '' };
  for (const part of value.replaceAll(',,', '\0').split(',')) {
    const [, key = '', given = ''] = /^([a-z-]+)=(.*)$/s.exec(part) ?? ['', 'file', part];
    drive = { ...drive, ...driveKey(key, given.replaceAll('\0', ',')) };
  }
  if (drive.file === '') throw bad(`-drive ${value} names no file`, 'Write it as -drive file=disk.img');
  return drive;
}

/** What a key of `-drive` says; QEMU's that change nothing here are accepted. */
function driveKey(key: string, text: string): Partial<DriveOptions> {
  switch (key) {
    case 'file':
      return { file: text };
    case 'format':
      if (text === 'raw' || text === 'qcow2') return { format: text };
      throw bad(`disks of format ${text} are not supported`, 'Convert it: qemu-img convert -O qcow2 FROM TO');
    case 'readonly':
    case 'read-only':
      return { readOnly: parseSwitch(text, key) };
    case 'snapshot':
      return { overlay: parseSwitch(text, key) };
    case 'overlay':
      return { overlay: text };
    case 'backing':
      return { backing: parseSwitch(text, key) };
    case 'discard':
      if (text === 'unmap' || text === 'on') return { discard: 'unmap' };
      if (text === 'ignore' || text === 'off') return { discard: 'ignore' };
      throw bad(`-drive discard=${text} is not possible`, 'Choose unmap or ignore');
    case 'reconnect-delay':
      return { reconnectDelaySeconds: parseCount(text, 'reconnect-delay', 0, 1_000_000) };
    case 'werror':
    case 'rerror':
      if (text === 'report') return {};
      throw bad(`-drive ${key}=${text} is not supported`, `Use ${key}=report: the guest is told of the error`);
    case 'if':
      if (text === 'virtio' || text === 'none') return {};
      throw bad(`-drive if=${text} is not supported`, 'Leave it out: every disk is virtio');
    case 'id':
    case 'index':
    case 'media':
    case 'cache':
    case 'aio':
    case 'detect-zeroes':
      return {};
    default:
      throw bad(
        `-drive does not know ${key}`,
        'It takes file=, format=, readonly=on, snapshot=on, overlay=FILE, backing=off, discard=ignore and reconnect-delay=SECONDS',
      );
  }
}

export function parseSwitch(value: string, key: string): boolean {
  if (value === 'on' || value === 'off') return value === 'on';
  throw bad(`${key}=${value} is neither on nor off`, `Write ${key}=on or ${key}=off`);
}

export function parsePromotion(value: string): PromotionMode {
  if (value === 'off' || value === 'auto' || value === 'always') return value;
  throw bad(`--promotion ${value} is not possible`, 'Choose off, auto or always');
}

export function parseShadowModel(value: string): ShadowModel {
  if (value === 'fence' || value === 'tracked') return value;
  throw bad(`--shadow-model ${value} is not possible`, 'Choose fence or tracked');
}

export function parseAia(value: string): Aia {
  if (value === 'none' || value === 'aplic' || value === 'aplic-imsic') return value;
  throw bad(`--aia ${value} is not possible`, 'Choose none, aplic or aplic-imsic');
}

/** `user,hostfwd=tcp:127.0.0.1:8080-:80`, `stream,...`, `macvtap,...`, or `none`: an uplink, and ports to be published. */
export function parseNetdev(value: string): { network: boolean; publish: string[]; netdev?: NetdevOptions } {
  const [kind = '', ...parts] = value.split(',');
  if (kind === 'none') return { network: false, publish: [] };
  if (kind !== 'user') return { network: true, publish: [], netdev: parseNetdevOptions(value) };
  const { netdev, hostfwd } = parseUserNetdev(parts);
  const publish = hostfwd.map((part) => {
    const match = /^(tcp|udp)?:([\d.]*):(\d+)-([\d.]*):(\d+)$/.exec(part);
    if (match === null) {
      throw bad(`-netdev user does not know hostfwd=${part}`, 'Publish a port as hostfwd=tcp:127.0.0.1:8080-:80');
    }
    const [, protocol = 'tcp', address, from, , guest] = match;
    return `${address ? `${address}:` : ''}${from}:${guest}/${protocol}`;
  });
  return { network: true, publish, netdev };
}

export function parseFailback(value: string): Failback {
  if (value === 'always' || value === 'better' || value === 'failure') return value;
  throw bad(`--failback ${value} is not possible`, 'Choose always, better or failure');
}

/** `socket=/tmp/web.vsock,cid=3`, as cloud-hypervisor spells it, or just the path. In a path, a comma is doubled. */
export function parseVsock(value: string, base = process.cwd()): { socket: string; cid?: number } {
  let vsock: { socket: string; cid?: number } = { socket: '' };
  for (const part of value.replaceAll(',,', '\0').split(',')) {
    const [, key = '', given = ''] = /^([a-z_-]+)=(.*)$/s.exec(part) ?? ['', 'socket', part];
    const text = given.replaceAll('\0', ',');
    if (key === 'socket' || key === 'uds_path') vsock = { ...vsock, socket: text === '' ? '' : resolve(base, text) };
    else if (key === 'cid' || key === 'guest_cid' || key === 'guest-cid')
      vsock = { ...vsock, cid: parseCount(text, '--vsock cid', 3, 0xffff_fffe) };
    else if (key !== 'id') throw bad(`--vsock does not know ${key}`, 'It takes socket=PATH and cid=N');
  }
  if (vsock.socket === '') throw bad(`--vsock ${value} names no socket`, 'Write it as --vsock socket=/tmp/guest.vsock');
  return vsock;
}

/** `HOST:GUEST[:ro]`, as docker has it: a folder here, and where the guest finds it. */
export function parseVolume(value: string, base = process.cwd()): ShareOptions {
  const [host = '', guest, access = 'rw', ...more] = value.split(':');
  const example = 'Write it as -v $PWD:/work, or -v $PWD:/work:ro';
  if (host === '' || guest === undefined || guest === '' || more.length > 0)
    throw bad(`-v ${value} does not name a folder here and one in the guest`, example);
  if (access !== 'ro' && access !== 'rw')
    throw bad(`-v ${value} ends in ${access}, which is neither ro nor rw`, example);
  if (host.startsWith('~/')) throw bad(`-v ${value}: the shell did not replace ~`, 'Write it as -v $HOME/...:/work');
  if (!/^(\/|\.\.?(\/|$))/.test(host))
    throw bad(`-v ${value} names no folder here: there are no named volumes`, `Write a folder as ./${host}`);
  if (!guest.startsWith('/'))
    throw bad(`-v ${value}: ${guest} is no absolute path in the guest`, `Write it as /${guest}`);
  return { host: resolve(base, host), guest, ...(access === 'ro' ? { readOnly: true } : {}) };
}

/** `NAME=VALUE`, or `NAME` alone for our own value of it (nothing where we have none), as docker does. */
export function parseEnvironment(
  given: readonly string[] | undefined,
  own: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const out: Record<string, string> = {};
  for (const entry of given ?? []) {
    const at = entry.indexOf('=');
    const name = at < 0 ? entry : entry.slice(0, at);
    const value = at < 0 ? own[name] : entry.slice(at + 1);
    if (!/^[A-Za-z_]\w*$/.test(name)) throw bad(`-e ${entry} names no variable`, 'Write it as -e NAME=VALUE');
    if (value !== undefined) out[name] = value;
  }
  return out;
}

/** `no`, `on-failure`, `on-failure:3`, `always`, `unless-stopped`: docker's restart policies. */
export function parseRestart(value: string): RestartPolicy {
  const [, name, most] = /^(no|on-failure|always|unless-stopped)(?::(\d{1,6}))?$/.exec(value) ?? [];
  if (most !== undefined && name === 'on-failure' && Number(most) > 0) return { name, most: Number(most) };
  if (most === undefined && (name === 'no' || name === 'on-failure' || name === 'always' || name === 'unless-stopped'))
    return { name };
  throw bad(`--restart ${value} is not possible`, 'Choose no, on-failure, on-failure:COUNT, always or unless-stopped');
}
