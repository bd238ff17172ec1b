/**
 * Whether tests take all seeds, rounds and cases that they know (`npm test -- --thorough`), where some prove as much of a
 * change and take a fraction of the time.
 */
export const THOROUGH_VARIABLE = 'KAGEMUSHA_TEST_THOROUGH';

export const isThorough = process.env[THOROUGH_VARIABLE] !== undefined;
