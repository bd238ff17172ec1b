/** A growing byte buffer with the encodings of the Wasm binary format (core specification, section 5.2). */
export class Bytes {
  #data = new Uint8Array(256);
  length = 0;

  /** The bytes written so far; valid until the next write. */
  get view(): Uint8Array<ArrayBuffer> {
    return this.#data.subarray(0, this.length);
  }

  u8(value: number): void {
    if (this.length === this.#data.length) this.#grow(1);
    this.#data[this.length++] = value;
  }

  append(bytes: Uint8Array): void {
    if (this.length + bytes.length > this.#data.length) this.#grow(bytes.length);
    this.#data.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Unsigned LEB128 of an integer up to 2^53. */
  u32(value: number): void {
    let v = value;
    while (v >= 128) {
      this.u8((v % 128) | 128);
      v = Math.floor(v / 128);
    }
    this.u8(v);
  }

  /** Signed LEB128 of an int32. */
  s32(value: number): void {
    let v = value | 0;
    while (v < -64 || v > 63) {
      this.u8((v & 127) | 128);
      v >>= 7;
    }
    this.u8(v & 127);
  }

  /** Signed LEB128 of the 64-bit integer hi:lo. */
  s64(lo: number, hi: number): void {
    let l = lo | 0;
    let h = hi | 0;
    for (;;) {
      const byte = l & 127;
      l = (l >>> 7) | (h << 25);
      h >>= 7;
      if ((h === 0 && l === 0 && (byte & 64) === 0) || (h === -1 && l === -1 && (byte & 64) !== 0)) {
        this.u8(byte);
        return;
      }
      this.u8(byte | 128);
    }
  }

  name(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.u32(bytes.length);
    this.append(bytes);
  }

  #grow(by: number): void {
    const next = new Uint8Array(Math.max(this.#data.length * 2, this.length + by));
    next.set(this.#data);
    this.#data = next;
  }
}
