/** Reads what Bytes writes: the encodings of the Wasm binary format (core specification, section 5.2). */
import { must } from '../base/assert.ts';

export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  /** Of the next byte. */
  at: number;
  readonly end: number;

  /** Bytes `at` up to, not including, `end`; beyond it an AssertionError. */
  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = at;
    this.end = end;
  }

  get isAtEnd(): boolean {
    return this.at >= this.end;
  }

  u8(): number {
    return must(this.at < this.end ? this.#bytes[this.at++] : undefined, 'a module ends in the middle');
  }

  /** Unsigned LEB128, up to 2^53. */
  u32(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.u8();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }

  /** Signed LEB128 of at most 64 bits. */
  signed(): bigint {
    let value = 0n;
    for (let shift = 0n; ; ) {
      const byte = this.u8();
      value |= BigInt(byte & 127) << shift;
      shift += 7n;
      if (byte < 128) return BigInt.asIntN(Number(shift), value);
    }
  }

  f32(): number {
    const value = this.#view.getFloat32(this.at, true);
    this.at += 4;
    return value;
  }

  f64(): number {
    const value = this.#view.getFloat64(this.at, true);
    this.at += 8;
    return value;
  }

  name(): string {
    const length = this.u32();
    const bytes = this.#bytes.slice(this.at, this.at + length);
    this.at += length;
    return new TextDecoder().decode(bytes);
  }

  /** A reader of the next `length` bytes, which are passed over. */
  part(length: number): ByteReader {
    const part = new ByteReader(this.#bytes, this.at, this.at + length);
    this.at += length;
    return part;
  }

  /** `read` for each of a vector's elements, whose count comes first. */
  each<T>(read: (index: number) => T): T[] {
    const count = this.u32();
    const out: T[] = [];
    for (let i = 0; i < count; i++) out.push(read(i));
    return out;
  }
}
