/** `npm run toolbox -- NAME ...`: unpacks Debian tools that tests and benchmarks compare against, and shows them. */
import { provide, type ToolName, toolNames, versions } from '../test/toolbox.ts';

const names = process.argv.slice(2);
const known: readonly string[] = toolNames;
const unknown = names.find((name) => !known.includes(name));
if (names.length === 0 || unknown !== undefined) {
  process.stderr.write(`usage: npm run toolbox -- ${toolNames.join(' | ')}\n`);
  process.exit(unknown === undefined ? 0 : 125);
}
for (const name of names as ToolName[]) {
  const failure = await provide(name, (line) => process.stderr.write(`${line}\n`));
  if (failure !== undefined) {
    process.stderr.write(`${failure}\n`);
    process.exit(125);
  }
  process.stdout.write(`${versions(name)}\n`);
}
