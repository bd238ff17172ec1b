/** What a partition of the cluster needs (cluster/model.ts, Requirements), and what its storage and its application want. */
import * as z from 'zod';
import type { Method } from '../../cluster/index.ts';
import { nameText, text } from './words.ts';

const duration = z.int().min(0).max(86_400_000);
const METHODS = ['cold', 'warm', 'hot', 'pair'] as const satisfies readonly Method[];
const method = z.enum(METHODS);
const command = z
  .array(text(1 << 16))
  .min(1)
  .max(1024);
const fixed = METHODS.map((one) => `fixed:${one}` as const);

export const failover = z
  .strictObject({
    recoveryTimeMs: duration.describe("From its host's death to its answer. A minute by default.").exactOptional(),
    dataLossMs: duration
      .describe(
        'How much of its work may be lost; 0: nothing that anybody was told. By default its memory, not its disk.',
      )
      .exactOptional(),
    performanceFloor: z
      .number()
      .min(0)
      .max(1)
      .describe('The share of its cores that it must have after a takeover. 0.5 by default.')
      .exactOptional(),
    priority: z.int().min(0).max(1_000_000).describe('Higher first. 0 by default.').exactOptional(),
    group: nameText.describe('Guests of one group are kept on different hosts.').exactOptional(),
    methods: z.array(method).min(1).max(METHODS.length).describe('Those that it can be used with.').exactOptional(),
    method: z
      .enum(['auto', ...fixed])
      .describe('`auto`: the cluster selects one, and changes it when that is better. By default.')
      .exactOptional(),
    gate: z
      .string()
      .max(1024)
      .regex(/^(unix:\/|tls:.+:\d{1,5}$)[^\0]*$/, 'is neither unix:PATH nor tls:HOST:PORT')
      .describe("Where its storage's gate is told generations: `unix:PATH` or `tls:HOST:PORT`.")
      .exactOptional(),
    restartCommand: command.describe('Starts its application again, in the guest.').exactOptional(),
    takeOverCommand: command
      .describe('Has the application of a pair take over, in the guest that ran beside the other.')
      .exactOptional(),
  })
  .meta({ id: 'Failover', description: 'The cluster keeps it up: what that has to come to.' });
export type Failover = z.infer<typeof failover>;
