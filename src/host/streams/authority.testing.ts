/** A cluster's authority for tests: folders of certificates, as its hosts have them. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CertificateWish, makeCertificate } from '../x509/index.ts';

export class TestAuthority {
  readonly #folder: string;
  readonly #own = makeCertificate({ commonName: 'authority', isAuthority: true, days: 2 });

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** A folder with ca.pem, cert.pem and key.pem, of a host at the loopback address. */
  host(name: string, wish: Partial<CertificateWish> = {}): string {
    const place = join(this.#folder, name);
    mkdirSync(place, { recursive: true });
    const own = { commonName: name, hosts: ['127.0.0.1', 'localhost'], days: 2 };
    const { cert, key } = makeCertificate({ ...own, usages: ['server', 'client'], ...wish }, this.#own);
    for (const [file, text] of Object.entries({ ca: this.#own.cert, cert, key }))
      writeFileSync(join(place, `${file}.pem`), text, { mode: 0o600 });
    return place;
  }
}
