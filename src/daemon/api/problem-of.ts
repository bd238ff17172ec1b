/** The one place where an error of ours becomes a problem document (RFC 9457) and a status. */
import type * as z from 'zod';
import { HostError, OperatorError } from '../../base/errors.ts';
import type { Problem } from '../schemas/problem.ts';

/** An error that only HTTP knows: no such path, a body that is too large. */
export class RequestError extends Error {
  override name = 'RequestError';
  readonly status: number;
  readonly code: string;
  readonly fix: string;
  readonly errors: Problem['errors'];

  constructor(status: number, code: string, message: string, fix: string, errors?: Problem['errors']) {
    super(message);
    this.status = status;
    this.code = code;
    this.fix = fix;
    this.errors = errors;
  }
}

/** Of codes that are not simply the caller's fault (400). */
const STATUS: Readonly<Record<string, number>> = {
  'no-such-partition': 404,
  'no-such-machine': 404,
  'no-such-port': 404,
  'image-not-found': 404,
  'name-in-use': 409,
  'port-in-use': 409,
  'not-running': 409,
  'partition-running': 409,
  'slot-unchanged': 409,
  'machine-full': 409,
  'machine-closed': 409,
  'machine-ended': 409,
  'no-daemon': 409,
  'no-cluster': 409,
  'in-cluster': 409,
  'cluster-busy': 409,
  'cluster-exists': 409,
  'cluster-closed': 503,
  'address-in-use': 409,
  'foreign-authority': 409,
  'wrong-secret': 403,
  'host-alive': 409,
  'host-away': 409,
  'last-host': 409,
  'no-such-host': 404,
  'not-joined': 503,
  replaced: 409,
  'store-unreachable': 503,
  clustered: 409,
  'on-another-host': 409,
  'agent-not-ready': 504,
  'state-damaged': 500,
  'state-newer': 500,
  'state-not-ours': 500,
};
/** Of host errors: what the machine's process does not answer is a gateway's failure. */
const HOST_STATUS: Readonly<Record<string, number>> = {
  'machine-gone': 502,
  'machine-silent': 504,
  'bad-answer': 502,
  'not-offered': 501,
  refused: 501,
  'still-running': 504,
  'peer-unreachable': 502,
  'peer-failed': 502,
  'too-many-streams': 503,
  'too-slow': 503,
};

export function problemOf(error: unknown): Problem {
  if (error instanceof RequestError) {
    const { status, code, message, fix, errors } = error;
    return { ...problem(status, code, message), fix, ...(errors === undefined ? {} : { errors }) };
  }
  if (error instanceof OperatorError)
    return { ...problem(STATUS[error.code] ?? 400, error.code, error.message), fix: error.fix };
  if (error instanceof HostError) return problem(HOST_STATUS[error.code] ?? 500, error.code, error.message);
  // A bug of ours: what it says of our insides is for the log, not for the caller.
  return problem(500, 'bug', 'the daemon failed at this request; its log says how');
}

function problem(status: number, code: string, detail: string): Problem {
  const words = code.replaceAll('-', ' ');
  const title = `${words.charAt(0).toUpperCase()}${words.slice(1)}`;
  return { type: `urn:kagemusha:error:${code}`, title, status, detail, code };
}

/** What is wrong with a request, place by place. */
export function badRequest(part: string, issues: readonly z.core.$ZodIssue[]): RequestError {
  const errors = issues.slice(0, 20).map(({ path, message }) => ({
    at: [part, ...path.map(String)].join('.'),
    message: message.slice(0, 400),
  }));
  const [first] = errors;
  const message = first === undefined ? `${part} is wrong` : `${first.at}: ${first.message}`;
  return new RequestError(400, 'bad-request', message, 'See /v1/openapi.json for what is asked for', errors);
}
