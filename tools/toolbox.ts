/** `npm run toolbox -- NAME ...`: unpacks Debian tools that tests and benchmarks compare against, and shows them. */
import { isProvided, provide, type ToolName, tools, treePath, versions } from '../test/toolbox.ts';

const names = process.argv.slice(2);
const unknown = names.find((name) => !(name in tools));
if (names.length === 0 || unknown !== undefined) {
  process.stderr.write(`usage: npm run toolbox -- ${Object.keys(tools).join(' | ')}\n`);
  process.exit(unknown === undefined ? 0 : 125);
}
for (const name of names as ToolName[]) {
  const failure = provide(name, (line) => process.stderr.write(`${line}\n`));
  if (failure !== undefined) {
    process.stderr.write(`${failure}\n`);
    process.exit(125);
  }
  if (isProvided(name)) process.stdout.write(`${versions(name)}\n`);
}
process.stdout.write(`unpacked in ${treePath()}\n`);
