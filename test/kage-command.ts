/**
 * The command `kage` as tests start it, in a process of its own: `spawn(process.execPath, [kageCommand, ...])`. A run of all
 * system tests builds the package first and says where it is (tools/test.ts): it is what users have, and starts in a third
 * of the time. A test that is run by itself takes the sources, as they are at that moment.
 */
import { dirname, join } from 'node:path';

export const COMMAND_VARIABLE = 'KAGEMUSHA_TEST_COMMAND';

export const kageCommand = process.env[COMMAND_VARIABLE] ?? join(dirname(import.meta.dirname), 'src/cli/kage.ts');
