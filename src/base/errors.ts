/**
 * Errors that people outside the project meet. An operator's error says what is wrong and what to do; it becomes
 * a status code (API) and a line of text (CLI, exit code 125) exactly once, at the edge. A host error wraps what
 * the machine around us refused (disk, socket, worker) and keeps its cause.
 */
export class OperatorError extends Error {
  override name = 'OperatorError';
  /** Stable, kebab-case: `kernel-not-found`, `port-in-use`. */
  readonly code: string;
  /** What the operator can do about it, one sentence. */
  readonly fix: string;
  constructor(code: string, message: string, fix: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.fix = fix;
  }
}

export class HostError extends Error {
  override name = 'HostError';
  readonly code: string;
  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
