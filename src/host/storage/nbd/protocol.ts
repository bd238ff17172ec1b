/** Numbers of the NBD protocol (the NBD project's doc/proto.md). All are big-endian on the wire. */

export const NBD_MAGIC = 0x4e42444d41474943n;
export const OPTION_MAGIC = 0x49484156454f5054n;
export const OPTION_REPLY_MAGIC = 0x0003e889045565a9n;
export const REQUEST_MAGIC = 0x25609513;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;

export const HANDSHAKE_FLAG = { FIXED_NEWSTYLE: 1, NO_ZEROES: 2 } as const;
export const OPT = { EXPORT_NAME: 1, ABORT: 2, LIST: 3, STARTTLS: 5, GO: 7, STRUCTURED_REPLY: 8 } as const;
export const REP = { ACK: 1, INFO: 3 } as const;
const ERROR_BIT = 0x8000_0000;
export const REP_ERR = {
  UNSUP: ERROR_BIT + 1,
  POLICY: ERROR_BIT + 2,
  INVALID: ERROR_BIT + 3,
  PLATFORM: ERROR_BIT + 4,
  TLS_REQD: ERROR_BIT + 5,
  UNKNOWN: ERROR_BIT + 6,
  SHUTDOWN: ERROR_BIT + 7,
  BLOCK_SIZE_REQD: ERROR_BIT + 8,
} as const;
export const INFO = { EXPORT: 0, BLOCK_SIZE: 3 } as const;

export const TRANSMISSION_FLAG = {
  HAS_FLAGS: 1,
  READ_ONLY: 2,
  SEND_FLUSH: 4,
  SEND_FUA: 8,
  SEND_TRIM: 32,
  SEND_WRITE_ZEROES: 64,
} as const;
export const CMD = { READ: 0, WRITE: 1, DISC: 2, FLUSH: 3, TRIM: 4, WRITE_ZEROES: 6 } as const;
export type Command = (typeof CMD)[keyof typeof CMD];
export const CMD_FLAG = { NO_HOLE: 2 } as const;

export const REPLY_FLAG = { DONE: 1 } as const;
export const REPLY = { NONE: 0, OFFSET_DATA: 1, OFFSET_HOLE: 2, ERROR: 0x8001, ERROR_OFFSET: 0x8002 } as const;
/** Types from here on are errors. */
export const REPLY_ERROR_BIT = 0x8000;

export const ERROR = { EPERM: 1, EIO: 5, EINVAL: 22, ENOSPC: 28, ESHUTDOWN: 108 } as const;
/** What a server may answer, by number. */
export const ERROR_NAMES: Readonly<Record<number, string>> = {
  1: 'EPERM',
  5: 'EIO',
  12: 'ENOMEM',
  22: 'EINVAL',
  28: 'ENOSPC',
  75: 'EOVERFLOW',
  95: 'ENOTSUP',
  108: 'ESHUTDOWN',
};

export const REQUEST_BYTES = 28;
/** What a client may assume that a server takes at once, where it does not say. */
export const PAYLOAD_BYTES_DEFAULT = 32 << 20;
