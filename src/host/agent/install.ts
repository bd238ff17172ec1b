/**
 * Our agent as a service of a guest that runs systemd, on the guest's own disk: put there, renewed, or taken away, through
 * whichever agent the guest has now. Each may be done again: what is as it should be stays.
 *
 * The commands run in the agent's own service, which systemd ends with all its processes when it starts the service anew.
 * So that comes a moment after the last of them was told to have ended.
 */
import { readFile } from 'node:fs/promises';
import { OperatorError } from '../../base/errors.ts';
import type { ExecOptions, ExecResult } from '../machine/machine-api.ts';
import { guestFolder } from '../package-files.ts';

/** Where it lies in a guest that has it on its disk. */
export const installedAgent = '/usr/local/lib/kagemusha/agent';
const unitFile = '/etc/systemd/system/kagemusha-agent.service';
const unit = 'kagemusha-agent.service';

export type Installation = 'installed' | 'upgraded' | 'unchanged' | 'removed' | 'absent';

/** A guest in which commands can be run. */
export interface Installable {
  exec(argv: readonly string[], options?: ExecOptions): Promise<ExecResult>;
}

/** The unit that starts the agent from the guest's own disk. */
export async function installedUnit(): Promise<string> {
  const text = await readFile(new URL('agent/kagemusha-agent.service', guestFolder), 'utf8');
  return text.replace('/run/kagemusha/agent', installedAgent);
}

const NO_SYSTEMD = 3;
const SOON_S = 2;
/** A service's processes have five seconds to end. */
const SAT_OUT_MS = 8000;

/** What systemd is told when the command that says so has ended: it may end the agent that runs it. */
function soon(verb: 'restart' | 'stop'): string {
  const script = `sleep ${SOON_S}; exec systemctl --no-block ${verb} ${unit}`;
  return `setsid sh -c '${script}' < /dev/null > /dev/null 2>&1 &`;
}

/**
 * The agent comes as input, its path, the unit's and the unit are words. Each file is written where it differs, whole or not
 * at all; said is what was there of each (`new`, `other`, `same`), and whether the service runs. One command, for each costs
 * the guest its time.
 */
const install = `
[ -d /run/systemd/system ] || exit ${NO_SYSTEMD}
set -e
put() {
  mkdir -p "\${1%/*}"
  cat > "$1.new"
  chmod "$2" "$1.new"
  if [ ! -e "$1" ]; then said=new; elif cmp -s "$1.new" "$1"; then said=same; else said=other; fi
  if [ $said = same ]; then rm "$1.new"; else mv "$1.new" "$1"; fi
}
put "$1" 755
agent=$said
printf %s "$3" | { put "$2" 644; echo $said > "$1.said"; }
read -r service < "$1.said"
rm "$1.said"
systemctl daemon-reload
systemctl --quiet enable ${unit}
active=no
! systemctl --quiet is-active ${unit} || active=yes
if [ "$agent $service $active" != 'same same yes' ]; then
  ${soon('restart')}
fi
echo "$agent $service $active"`;

/** OperatorError: `no-systemd`, `agent-not-installed`. */
export async function installAgent(guest: Installable): Promise<Installation> {
  const agent = await readFile(new URL('agent/agent', guestFolder));
  const words = [installedAgent, unitFile, await installedUnit()];
  const said = await must(guest, install, words, agent);
  if (said === 'same same yes') return 'unchanged';
  await sitOut(guest);
  if (said.startsWith('new ')) return 'installed';
  return said.startsWith('same same ') ? 'unchanged' : 'upgraded';
}

/** The unit goes first: what it started still runs, and says what becomes of the rest. */
const uninstall = `
[ -d /run/systemd/system ] || exit ${NO_SYSTEMD}
[ -e "$1" ] || [ -e "$2" ] || { echo absent; exit; }
systemctl --quiet disable ${unit} || :
rm -f "$1" "$2" && systemctl daemon-reload || exit
rmdir "\${1%/*}" 2> /dev/null || :
${soon('stop')}
echo removed`;

/** Takes the agent away, and ends it, if it is the one on the disk. OperatorError as above. */
export async function uninstallAgent(guest: Installable): Promise<Installation> {
  const said = await must(guest, uninstall, [installedAgent, unitFile]);
  if (said === 'absent') return 'absent';
  await sitOut(guest);
  return 'removed';
}

/** The last line that the script said. */
async function must(guest: Installable, script: string, words: readonly string[], stdin?: Uint8Array): Promise<string> {
  const options = stdin === undefined ? {} : { stdin };
  const { code, stdout, stderr } = await guest.exec(['/bin/sh', '-c', script, 'sh', ...words], options);
  if (code === 0) return lastLine(stdout);
  if (code === NO_SYSTEMD) {
    throw new OperatorError(
      'no-systemd',
      'the guest does not run systemd, of which the agent would be a service',
      'Start the agent by what the guest starts its services with (docs/agent.md)',
    );
  }
  const what = `the guest's disk or its systemd does not take the agent: ${lastLine(stderr)}`;
  throw new OperatorError('agent-not-installed', what, "See the guest's console");
}

function lastLine(said: Uint8Array): string {
  const line = Buffer.from(said).toString('latin1').trim().split('\n').at(-1) ?? '';
  return line.slice(0, 200).replaceAll(/[^\x20-\x7e]/g, '?');
}

/** Waits until the service was started anew, or ended, which ends this command, if the agent ran it. */
async function sitOut(guest: Installable): Promise<void> {
  const signal = AbortSignal.timeout(SAT_OUT_MS);
  await guest.exec(['sleep', `${SAT_OUT_MS / 1000}`], { signal }).catch(() => undefined);
}
