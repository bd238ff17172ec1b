/** A process for certain: its number alone may be another's by now, so its start goes with it (proc(5), stat). */
import { readFileSync } from 'node:fs';

export interface ProcessId {
  readonly pid: number;
  /** Clock ticks between the host's boot and its start. */
  readonly startedTicks: number;
}

/** Undefined: there is none of that number. */
export function processId(pid: number): ProcessId | undefined {
  const fields = statOf(pid);
  return fields === undefined ? undefined : { pid, startedTicks: fields.startedTicks };
}

/** Whether it can still do something: one that has ended and was not reaped cannot. */
export function isThere({ pid, startedTicks }: ProcessId): boolean {
  const fields = statOf(pid);
  return fields !== undefined && fields.startedTicks === startedTicks && fields.state !== 'Z' && fields.state !== 'X';
}

/** Ends it at once, if it is there. */
export function endProcess(id: ProcessId): void {
  if (!isThere(id)) return;
  try {
    process.kill(id.pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}

function statOf(pid: number): { readonly state: string; readonly startedTicks: number } | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  // Its name, in brackets, may have blanks and brackets of its own. State is field 3, the start field 22.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state] = fields;
  const startedTicks = Number(fields[19]);
  return state === undefined || !Number.isSafeInteger(startedTicks) ? undefined : { state, startedTicks };
}
