/**
 * QEMU's habits in `kage run`: its long options have one dash, which the usual parsers read as a cluster of short
 * ones. Here they become our own before anything else looks at them; what needs no counterpart (a board that is the
 * only one, a display that is not there) is dropped, and what we cannot do is an error, never ignored.
 */
import { OperatorError } from '../base/errors.ts';

type Rewrite = (value: string) => string[];

const to =
  (option: string): Rewrite =>
  (value) => [`${option}=${value}`];

/** Docker's names for what we call otherwise. */
const docker: Readonly<Record<string, string>> = { '--cpu-shares': '--weight', '--cpuset-cpus': '--pin' };

/** Accepts these values, which say what is the case anyway. */
const only =
  (option: string, pattern: RegExp, fix: string): Rewrite =>
  (value) => {
    if (pattern.test(value)) return [];
    throw new OperatorError('unsupported-option', `${option} ${value} is not supported`, fix);
  };

/** Of the machine's options those that ours has, too; others are how QEMU does what is done here anyway. */
const OF_MACHINE: Readonly<Record<string, string>> = { aia: '--aia', 'aia-guests': '--aia-guests' };

function machine(option: string): Rewrite {
  const isVirt = only(option, /^(type=)?virt(,|$)/, 'The machine is always "virt"');
  return (value) => {
    isVirt(value);
    return value.split(',').flatMap((part) => {
      const [, name = '', setting = ''] = /^([^=]*)=(.*)$/.exec(part) ?? [];
      const ours = Object.hasOwn(OF_MACHINE, name) ? OF_MACHINE[name] : undefined;
      return ours === undefined ? [] : [`${ours}=${setting}`];
    });
  };
}

/** Devices that there are anyway; as PCI Express functions where one of them is said to be one; a network card's address. */
function device(value: string): string[] {
  isKnownDevice(value);
  const [, mac] = /^virtio-net-.*,mac=([^,]*)/.exec(value) ?? [];
  return [
    ...(/^(virtio-\w+-pci|pcie-root-port)(,|$)/.test(value) ? ['--pci=on'] : []),
    ...(mac === undefined ? [] : [`--mac=${mac}`]),
  ];
}

const isKnownDevice = only(
  '-device',
  /^virtio-(blk|net|rng|serial)-(device|pci)(,|$)|^(virtconsole|pcie-root-port)(,|$)/,
  'Disks come from -drive, the network from -netdev; console and entropy are always there',
);

const withValue: Readonly<Record<string, Rewrite>> = {
  '-name': (value) => [`--name=${value.split(',')[0]?.replace(/^guest=/, '')}`],
  '-smp': (value) => [`--cpus=${/^(?:cpus=)?([^,]*)/.exec(value)?.[1]}`],
  '-kernel': to('--kernel'),
  '-initrd': to('--initrd'),
  '-append': to('--append'),
  '-bios': to('--bios'),
  '-cpu': (value) => [`--cpu=${value.replace(/^(max|rva\w+)(?=,|$)/, 'rv64')}`],
  '-drive': to('--drive'),
  '-hda': (value) => [`--drive=file=${value.replaceAll(',', ',,')}`],
  '-netdev': to('--netdev'),
  '-nic': to('--netdev'),
  '-net': (value) => (value.startsWith('nic') ? [] : [`--netdev=${value}`]),
  '-gdb': (value) => [`--gdb=${value.replace(/^tcp:(localhost|127\.0\.0\.1)?:/, '')}`],
  '-machine': machine('-machine'),
  '-M': machine('-M'),
  '-serial': only('-serial', /^(mon:)?stdio$/, 'The console is always the terminal'),
  '-display': only('-display', /^none$/, 'There is no display'),
  '-monitor': only('-monitor', /^none$/, 'Use the other verbs of kage from another terminal'),
  '-device': device,
  '-accel': only('-accel', /^tcg(,|$)/, 'Leave it out'),
  '-virtfs': only('-virtfs', /^$/, 'Share a folder as -v HOST:GUEST, or -v HOST:GUEST:ro'),
  '-rtc': only('-rtc', /^base=utc$/, 'Leave it out'),
};

const alone: Readonly<Record<string, readonly string[]>> = {
  '-s': ['--gdb=1234'],
  '-S': ['--start-paused'],
  '-nographic': [],
  '-no-reboot': [],
  '-nodefaults': [],
  '-daemonize': ['--detach'],
  '-snapshot': ['--snapshot'],
  '-it': [],
  '-i': [],
  '-t': [],
};

/** Options of ours that take a value, so that the value is not taken for an option. */
const ours =
  /^(-[ncmpev]|--(volume|name|cpus|memory|publish|env|exec|kernel|initrd|append|bios|drive|netdev|mac|failback|path-failover|vsock|cpu|clock|machine|processors|cap|weight|pin|seed|gdb|workdir|wait|network|code-memory|translate|hot-threshold|promotion|shadows|shadow-model|asid-bits|combined-shadows|relay|interrupt-rate|aia|aia-guests|balloon|pci|overlay|trap|trap-log|format))$/;

/** Arguments of `kage run`, in front of `--`, with QEMU's spellings replaced by ours. */
export function withoutQemuSpellings(args: readonly string[]): string[] {
  const out: string[] = [];
  for (let i = 0; i < args.length; i += 1) {
    const [, flag = '', rest = ''] = /^(--[a-z-]+)(=.*)?$/s.exec(args[i] ?? '') ?? [];
    const word = Object.hasOwn(docker, flag) ? `${docker[flag]}${rest}` : (args[i] ?? '');
    const rewrite = Object.hasOwn(withValue, word) ? withValue[word] : undefined;
    if (rewrite !== undefined) {
      i += 1;
      const value = args[i];
      if (value === undefined) {
        throw new OperatorError('bad-usage', `option ${word} needs a value`, 'See "kage run --help"');
      }
      out.push(...rewrite(value));
    } else if (word === '--nested') {
      // Said alone it means on; what stands behind it is the image, as a rule.
      const isSaid = args[i + 1] === 'on' || args[i + 1] === 'off';
      if (isSaid) i += 1;
      out.push(`--nested=${isSaid ? args[i] : 'on'}`);
    } else if (Object.hasOwn(alone, word)) {
      out.push(...(alone[word] ?? []));
    } else {
      out.push(word);
      if (ours.test(word) && i + 1 < args.length) {
        i += 1;
        out.push(args[i] ?? '');
      }
    }
  }
  return out;
}
