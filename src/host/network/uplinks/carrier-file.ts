/** The carrier of a network device as sysfs has it: one small read, which asks the kernel at that moment. */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

const ONE = 0x31;

export class CarrierFile {
  readonly #descriptor: number;
  readonly #byte = new Uint8Array(1);
  #isUp: boolean;

  /** Undefined where sysfs does not show this device: it shows those of the network namespace that it was mounted in. */
  static open({
    name,
    index,
    address,
  }: {
    readonly name: string;
    readonly index: number;
    readonly address: string | undefined;
  }): CarrierFile | undefined {
    const folder = `/sys/class/net/${name}`;
    try {
      const said = (file: string): string => readFileSync(`${folder}/${file}`, 'utf8').trim();
      if (Number(said('ifindex')) !== index || said('address') !== address) return undefined;
      return new CarrierFile(openSync(`${folder}/carrier`, 'r'));
    } catch {
      return undefined;
    }
  }

  private constructor(descriptor: number) {
    this.#descriptor = descriptor;
    this.#isUp = this.#read();
  }

  /** Now. */
  get isUp(): boolean {
    this.#isUp = this.#read();
    return this.#isUp;
  }

  /** Whether it is another than at the last look. */
  hasChanged(): boolean {
    const before = this.#isUp;
    return this.isUp !== before;
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  #read(): boolean {
    try {
      return readSync(this.#descriptor, this.#byte, 0, 1, 0) === 1 && this.#byte[0] === ONE;
    } catch {
      // A device that is down has no carrier to tell of; one that is gone neither.
      return false;
    }
  }
}
