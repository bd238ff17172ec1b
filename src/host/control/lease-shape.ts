/** Deadlines on the control socket: what a machine is given, and what it tells. */
import type { Lease, LeaseAnswer, LeaseGrant, LeaseReport } from '../machine/machine-api.ts';
import { integer, number, record, type Shape, truth } from './shape.ts';

const count = integer(0, Number.MAX_SAFE_INTEGER);
const milliseconds = number(0, Number.MAX_SAFE_INTEGER);
const fields = { incarnation: count, generation: count, deadlineMs: milliseconds };

export const lease: Shape<Lease> = record(fields);
export const leaseGrant: Shape<LeaseGrant> = record({ incarnation: count, deadlineMs: milliseconds });
export const leaseAnswer: Shape<LeaseAnswer> = record({ deadlineMs: milliseconds, isPaused: truth });
export const leaseReport: Shape<LeaseReport> = record({ ...fields, isExpired: truth });
