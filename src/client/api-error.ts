/** What the daemon answers where it cannot do what was asked: a problem (RFC 9457) with a stable code, and what to do. */
import type { Problem } from './api.ts';

export class ApiError extends Error {
  override name = 'ApiError';
  readonly status: number;
  /** Stable: `no-such-partition`, `name-in-use`. */
  readonly code: string;
  /** What to do about it; absent where nobody knows. */
  readonly fix: string | undefined;
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail);
    this.problem = problem;
    this.status = problem.status;
    this.code = problem.code;
    this.fix = problem.fix;
  }
}

/** Of a body that may be anything: a proxy may have answered. */
export function apiError(status: number, body: string): ApiError {
  return new ApiError(readProblem(status, body) ?? plain(status, body));
}

function readProblem(status: number, body: string): Problem | undefined {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value !== 'object' || value === null || !('code' in value) || !('detail' in value)) return undefined;
    return { ...plain(status, ''), ...(value as Partial<Problem>) };
  } catch {
    return undefined;
  }
}

function plain(status: number, body: string): Problem {
  const detail = body.trim().slice(0, 200) || `the answer was ${status}`;
  return { type: 'about:blank', title: 'No problem document', status, detail, code: 'bad-answer' };
}
