/** Errors as 9P2000.L says them: Linux's numbers (asm-generic/errno.h). */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EIO: 5,
  EBADF: 9,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  EMFILE: 24,
  EFBIG: 27,
  EROFS: 30,
  EMLINK: 31,
  ENAMETOOLONG: 36,
  ELOOP: 40,
  EMSGSIZE: 90,
  EOPNOTSUPP: 95,
  ESTALE: 116,
} as const;
export type Errno = keyof typeof ERRNO;

const NUMBER_MAX = 4095;

/** What was asked cannot be done: an answer for the guest, no fault of ours. */
export class Refusal extends Error {
  override name = 'Refusal';
  readonly code: Errno;

  constructor(code: Errno) {
    super(code);
    this.code = code;
  }
}

export function isRefusal(error: unknown): error is Refusal {
  return error instanceof Refusal;
}

/** Of a refusal, or of what the host's system said; undefined for an error of another kind. */
export function errnoOf(error: unknown): number | undefined {
  if (error instanceof Refusal) return ERRNO[error.code];
  const { errno } = error as { readonly errno?: unknown };
  if (typeof errno !== 'number' || errno >= 0 || errno < -NUMBER_MAX) return undefined;
  return -errno;
}

/** Whether the host's system said that. */
export function isErrno(error: unknown, code: Errno): boolean {
  return errnoOf(error) === ERRNO[code];
}
