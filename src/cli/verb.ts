/** What definitions of verbs have in common (program.ts, and those beside it). */
import { type Command, Option } from 'commander';

export function verb(parent: Command, name: string, summary: string, options: { isDefault?: boolean } = {}): Command {
  const sentence = `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`;
  return parent.command(name, options).summary(summary).description(sentence);
}

export function formatOption(): Option {
  return new Option('--format <format>', 'for people or for programs').choices(['table', 'json']).default('table');
}

export function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}
