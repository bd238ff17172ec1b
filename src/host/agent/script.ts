/**
 * What the agent runs for `exec`: a line of sh that changes to the folder, sets the environment and becomes the
 * command. All quoting happens here, so that words with blanks, quotes, newlines or any byte but NUL arrive as
 * they are. Strings go out as UTF-8; a word that is not text may be given as bytes.
 */
import { OperatorError } from '../../base/errors.ts';
import { limits } from './frames.ts';

export type Word = string | Uint8Array;

export interface Command {
  /** The program, searched in the guest's PATH, and its arguments; at least one word. */
  argv: readonly Word[];
  /** Added to what the agent's own environment holds (PATH, HOME). */
  env?: Readonly<Record<string, Word>>;
  /** The working directory; default: `/`. If it is not there, the command ends with 126. */
  cwd?: string;
}

/** The script for a command; throws OperatorError `bad-command` if no program could be given such words. */
export function commandScript(command: Command): Uint8Array {
  const [program, ...rest] = command.argv;
  if (program === undefined || program.length === 0) throw badCommand('it has no words');
  const parts: Uint8Array[] = [];
  const add = (...pieces: Word[]): void => {
    for (const piece of pieces) parts.push(bytesOf(piece));
  };
  if (command.cwd !== undefined) {
    const cwd = command.cwd.startsWith('-') ? `./${command.cwd}` : command.cwd;
    add('cd ', ...quote(cwd), ' || exit 126\n');
  }
  const variables = Object.entries(command.env ?? {});
  const text = Buffer.from(bytesOf(program)).toString('latin1');
  add('exec');
  // It sets names that no shell could, and takes no program for options. To start it takes the guest time.
  if (variables.length > 0 || text.includes('=') || text.startsWith('-')) add(' env --');
  for (const [name, value] of variables) {
    if (name === '' || name.includes('=')) throw badCommand(`${JSON.stringify(name)} cannot name a variable`);
    add(' ', ...quote(concat([bytesOf(`${name}=`), bytesOf(value)])));
  }
  // env would take such a program for one of its own words.
  if (text.includes('=') || text === '-') add(` sh -c 'exec "$@"' sh`);
  for (const word of [program, ...rest]) add(' ', ...quote(word));
  add('\n');
  const script = concat(parts);
  if (script.length > limits.scriptBytes) throw badCommand(`it is longer than ${limits.scriptBytes} bytes`);
  return script;
}

/** In single quotes; a single quote itself becomes '\''. */
function quote(word: Word): Word[] {
  const bytes = Buffer.from(bytesOf(word));
  if (bytes.includes(0)) throw badCommand('a word holds a NUL byte');
  return ["'", Buffer.from(bytes.toString('latin1').replaceAll("'", "'\\''"), 'latin1'), "'"];
}

function bytesOf(word: Word): Uint8Array {
  return typeof word === 'string' ? Buffer.from(word, 'utf8') : word;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

function badCommand(reason: string): OperatorError {
  return new OperatorError('bad-command', `the command cannot be run in the guest: ${reason}`, 'change the command');
}
