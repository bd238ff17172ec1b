/** A shared folder in a temporary one, beside which lies what no guest is to reach. */
import { chmodSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Client } from './client.testing.ts';
import { O_PATH } from './host-calls.ts';
import { HostShare, type HostShareOptions } from './host-share.ts';
import { type OpenShare, openShares } from './open-shares.ts';
import { Session } from './session.ts';

export const SECRET = 'what no guest is to read';

export class Fixture {
  /** What is shared. */
  readonly folder: string;
  /** Beside it: a file `secret`, and nothing else. */
  readonly outside: string;
  readonly #parent: string;
  readonly #open: OpenShare[] = [];

  constructor(test: Pick<TestContext, 'after'>) {
    this.#parent = mkdtempSync(join(tmpdir(), 'kagemusha-share-'));
    this.folder = join(this.#parent, 'shared');
    this.outside = join(this.#parent, 'outside');
    mkdirSync(this.folder);
    mkdirSync(this.outside);
    writeFileSync(join(this.outside, 'secret'), SECRET);
    test.after(() => {
      for (const share of this.#open) share.close();
      open(Buffer.from(this.#parent));
      rmSync(this.#parent, { recursive: true, force: true });
    });
  }

  path(...names: readonly string[]): string {
    return join(this.folder, ...names);
  }

  read(...names: readonly string[]): string {
    return readFileSync(this.path(...names), 'latin1');
  }

  share({ readOnly = false, quick = true } = {}): OpenShare {
    const [share] = openShares([{ host: this.folder, guest: '/share', readOnly }], { quick });
    if (share === undefined) throw new Error('no share');
    this.#open.push(share);
    return share;
  }

  /** The same without an operator's checks, in any way that the host may be asked. */
  host(options: Partial<HostShareOptions> = {}): { readonly share: HostShare; readonly session: Session } {
    const fd = openSync(this.folder, O_PATH);
    const share = new HostShare(fd, { readOnly: false, atOnce: 'while-fast', ...options });
    return { share, session: new Session(share, new TextEncoder().encode('/share')) };
  }

  async client(options?: { readOnly?: boolean; quick?: boolean }): Promise<Client> {
    return await Client.attach(this.share(options).session);
  }

  /** Whether what lies outside is as it was. */
  get isOutsideUntouched(): boolean {
    const names = readdirSync(this.outside);
    return names.length === 1 && readFileSync(join(this.outside, 'secret'), 'latin1') === SECRET;
  }
}

/** Whatever modes a guest has left there: all folders can be removed. Names are bytes. */
function open(folder: Buffer): void {
  chmodSync(folder, 0o700);
  for (const entry of readdirSync(folder, { withFileTypes: true, encoding: 'buffer' }))
    if (entry.isDirectory()) open(Buffer.concat([folder, Buffer.from('/'), entry.name]));
}
