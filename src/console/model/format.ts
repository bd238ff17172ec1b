/** Numbers and moments as people read them. */
const BYTES = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;
const COUNTS = ['', ' k', ' M', ' G', ' T'] as const;

export function bytes(value: number): string {
  return scaled(value, 1024, (step) => ` ${BYTES[step]}`);
}

export function count(value: number): string {
  return scaled(value, 1000, (step) => COUNTS[step] ?? '');
}

export function perSecond(value: number): string {
  return `${count(value)}/s`;
}

function scaled(value: number, base: number, unit: (step: number) => string): string {
  let step = 0;
  let rest = Math.abs(value);
  for (; rest >= base && step < BYTES.length - 1; step++) rest /= base;
  const digits = Number.isInteger(rest) || rest >= 100 ? 0 : rest >= 10 ? 1 : 2;
  return `${value < 0 ? '-' : ''}${rest.toFixed(digits)}${unit(step)}`;
}

/** `12:03:59`, of today or of another day. */
export function moment(iso: string, now = new Date()): string {
  const at = new Date(iso);
  const time = at.toLocaleTimeString('en-GB');
  return at.toDateString() === now.toDateString() ? time : `${iso.slice(0, 10)} ${time}`;
}

/** How long ago, in words of one unit. */
export function ago(iso: string, now = Date.now()): string {
  const seconds = Math.max(0, Math.round((now - Date.parse(iso)) / 1000));
  for (const [unit, size] of [
    ['d', 86_400],
    ['h', 3600],
    ['min', 60],
  ] as const)
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}`;
  return `${seconds} s`;
}
