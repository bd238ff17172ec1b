/** Errors (RFC 9457), and what the daemon tells of itself and of images. */
import * as z from 'zod';
import { cap, pin, publish, weight } from './spec.ts';
import { moment, nameText, text } from './words.ts';

export const problem = z
  .object({
    type: text().describe('`urn:kagemusha:error:CODE`'),
    title: text().describe('The code in words.'),
    status: z.int(),
    detail: text(1 << 16).describe('What is wrong, a sentence.'),
    code: text(64).describe('Stable: `no-such-partition`, `name-in-use`, `bad-request`.'),
    fix: text(1 << 16)
      .describe('What to do about it, a sentence.')
      .exactOptional(),
    errors: z
      .array(z.object({ at: text(), message: text() }))
      .describe('Of `bad-request`: each place that is wrong.')
      .exactOptional(),
  })
  .meta({ id: 'Problem', description: 'An error (RFC 9457).' });
export type Problem = z.infer<typeof problem>;

export const version = z
  .object({ version: text(64), api: z.literal('v1'), pid: z.int(), startedAt: moment, stateFolder: text() })
  .meta({ id: 'Version', description: 'The daemon.' });

export const health = z.object({ status: z.literal('ok') }).meta({ id: 'DaemonHealth' });

export const image = z
  .object({
    name: text(128),
    kernel: text(),
    initrd: text(),
    disk: text().exactOptional(),
    commandLine: text(1 << 16),
    release: text(64),
    suite: text(64),
    kernelVersion: text(64),
  })
  .meta({ id: 'Image', description: 'A guest image in the cache folder.' });
export const imageList = z.object({ images: z.array(image) }).meta({ id: 'ImageList' });
export const pullRequest = z
  .strictObject({ name: text(128), refresh: z.boolean().exactOptional() })
  .meta({ id: 'PullRequest' });

export const execRequest = z
  .strictObject({
    argv: z
      .array(text(256 << 10))
      .min(1)
      .max(4096),
    environment: z.record(z.string().max(256), text(256 << 10)).exactOptional(),
    workingFolder: text().exactOptional(),
    stdin: z
      .base64()
      .max(1 << 20)
      .describe('Base64.')
      .exactOptional(),
    waitMs: z
      .int()
      .min(0)
      .max(3_600_000)
      .describe("How long the guest's agent may take to answer. Without end by default.")
      .exactOptional(),
  })
  .meta({ id: 'ExecRequest', description: 'A command for a guest.' });
export const execResult = z
  .object({
    code: z.int().min(0).max(255).describe('128 + N after signal N.'),
    stdout: z.base64(),
    stderr: z.base64(),
    truncated: z.boolean().describe('More than 1 MiB of either was written; the rest is not there.'),
  })
  .meta({ id: 'ExecResult' });

export const forkRequest = z
  .strictObject({
    name: nameText.exactOptional(),
    publish: publish.exactOptional(),
    weight: weight.exactOptional(),
    cap: cap.exactOptional(),
    pin: pin.exactOptional(),
    quiesce: z.boolean().describe('Its file systems are frozen meanwhile.').exactOptional(),
  })
  .meta({ id: 'ForkRequest' });
export const forkResult = z
  .object({ name: nameText, pausedMs: z.number().min(0) })
  .meta({ id: 'ForkResult', description: 'A twin.' });
