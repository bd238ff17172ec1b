/** What the values of flags mean: sizes, disks, networks, environment. Each parser's error says what would do. */
import { resolve } from 'node:path';
import { OperatorError } from '../base/errors.ts';
import type { RestartPolicy } from '../client/index.ts';
import type { DriveOptions, MachineOptions, NetdevOptions } from '../host/index.ts';
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

/** `file=disk.img,readonly=on,snapshot=on,format=raw`, or just the file. In a file's name, a comma is doubled. */
export function parseDrive(value: string): DriveOptions {
  const parts = value.replaceAll(',,', '\0').split(',');
  let drive: { file: string; readOnly?: boolean; overlay?: boolean | string } = { file: '' };
  for (const part of parts) {
    const [, key = '', given = ''] = /^([a-z-]+)=(.*)$/s.exec(part) ?? ['', 'file', part];
    const text = given.replaceAll('\0', ',');
    if (key === 'file') drive = { ...drive, file: text };
    else if (key === 'readonly' || key === 'read-only') drive = { ...drive, readOnly: parseSwitch(text, key) };
    else if (key === 'snapshot') drive = { ...drive, overlay: parseSwitch(text, key) };
    else if (key === 'overlay') drive = { ...drive, overlay: text };
    else if (key === 'format' && text !== 'raw') {
      throw bad(`disks of format ${text} are not supported`, 'Convert it: qemu-img convert -O raw FROM TO');
    } else if (key === 'if' && text !== 'virtio' && text !== 'none') {
      throw bad(`-drive if=${text} is not supported`, 'Leave it out: every disk is virtio');
    } else if (!['format', 'if', 'id', 'index', 'media', 'cache', 'aio', 'discard'].includes(key)) {
      throw bad(`-drive does not know ${key}`, 'It takes file=, readonly=on, snapshot=on and overlay=FILE');
    }
  }
  if (drive.file === '') throw bad(`-drive ${value} names no file`, 'Write it as -drive file=disk.img');
  return drive;
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
