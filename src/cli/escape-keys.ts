/**
 * Ctrl-a, the prefix by which a terminal talks to kage rather than to the guest, as in QEMU and screen:
 *
 *   normal --Ctrl-a--> prefixed --x--> leave | h --> help | Ctrl-a, a --> one Ctrl-a for the guest | other --> both
 */

const ctrlA = 0x01;

export const escapeHelp = [
  'Ctrl-a x  end the machine and leave',
  'Ctrl-a d  leave a console that is attached; the machine goes on',
  'Ctrl-a a  send Ctrl-a to the guest',
  'Ctrl-a h  this help',
].join('\r\n');

export type Keys =
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | { readonly kind: 'leave' | 'detach' | 'help' };

export class EscapeKeys {
  #isPrefixed = false;

  /** What typed bytes mean, in order. */
  push(typed: Uint8Array): Keys[] {
    const out: Keys[] = [];
    let bytes: number[] = [];
    const command = (kind: 'leave' | 'detach' | 'help'): void => {
      if (bytes.length > 0) out.push({ kind: 'bytes', bytes: Uint8Array.from(bytes) });
      bytes = [];
      out.push({ kind });
    };
    for (const byte of typed) {
      if (!this.#isPrefixed) {
        if (byte === ctrlA) this.#isPrefixed = true;
        else bytes.push(byte);
        continue;
      }
      this.#isPrefixed = false;
      const key = String.fromCharCode(byte);
      if (key === 'x') command('leave');
      else if (key === 'd') command('detach');
      else if (key === 'h' || key === '?') command('help');
      else if (key === 'a' || byte === ctrlA) bytes.push(ctrlA);
      else bytes.push(ctrlA, byte);
    }
    if (bytes.length > 0) out.push({ kind: 'bytes', bytes: Uint8Array.from(bytes) });
    return out;
  }
}
