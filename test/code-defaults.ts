/**
 * Loaded before a program (`node --import`), makes its machines run code another way where their options do not say:
 * KAGEMUSHA_TEST_TRANSLATE is `off`, or the threshold from which code is translated. For whole suites
 * (test/long/thresholds.ts): NODE_OPTIONS hands it on to the processes that tests start.
 */
import { CODE_DEFAULTS } from '../src/machine/board-config.ts';

const wish = process.env['KAGEMUSHA_TEST_TRANSLATE'];
if (wish === 'off') CODE_DEFAULTS.translate = false;
else if (wish !== undefined) CODE_DEFAULTS.hotThreshold = Number(wish);
