/**
 * What the demo page consists of, by path: the rooms of the package that run in a page, as they lie there (from a
 * clone, types are stripped on the way), the terminal, and the guest image. Nothing else is to be had, whatever a
 * path says.
 */
import { readFile, stat } from 'node:fs/promises';
import { createRequire, stripTypeScriptTypes } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { GuestImage } from '../images/index.ts';
import { codeFolder, isSource } from '../package-files.ts';

export type Body = { readonly bytes: Uint8Array } | { readonly file: string; readonly sizeBytes: number };
export interface Page {
  readonly type: string;
  readonly body: Body;
}

/** Rooms that know Node; no page can use them. */
const NODE_ROOMS = ['host', 'cli'];
const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
  js: 'text/javascript; charset=utf-8',
  mjs: 'text/javascript; charset=utf-8',
  ts: 'text/javascript; charset=utf-8',
};
const BYTES = 'application/octet-stream';
/** Folders and names of our own files: no dots but the endings'. What is published shares chunks with capital letters. */
const OWN_PATH = /^(?<room>[a-z]+)\/(?:[a-z0-9-]+\/)*[A-Za-z0-9-]+\.(?<ending>html|css|svg|js|mjs|ts)$/;
const VENDOR = 'browser/vendor/';

export class DemoFiles {
  readonly #image: GuestImage;
  readonly #stripped = new Map<string, Uint8Array>();

  constructor(image: GuestImage) {
    this.#image = image;
  }

  /** The page at a path without its leading slash; undefined where there is none. */
  async find(path: string): Promise<Page | undefined> {
    if (path.startsWith('image/')) return await this.#imageFile(path.slice('image/'.length));
    const own = path.endsWith('/') ? `${path}index.html` : path;
    const { room, ending = '' } = OWN_PATH.exec(own)?.groups ?? {};
    if (room === undefined || NODE_ROOMS.includes(room)) return undefined;
    const file =
      isSource && own.startsWith(VENDOR) ? vendored(own.slice(VENDOR.length)) : fileURLToPath(new URL(own, codeFolder));
    const type = TYPES[ending] ?? BYTES;
    return ending === 'ts' ? await this.#code(file, type) : await fromFile(file, type);
  }

  async #imageFile(name: string): Promise<Page | undefined> {
    const { kernel, initrd, commandLine, manifest } = this.#image;
    if (name === 'kernel') return await fromFile(kernel, BYTES);
    if (name === 'initrd') return await fromFile(initrd, BYTES);
    if (name !== 'image.json') return undefined;
    const title = `Debian ${manifest.release} (${manifest.suite}), Linux ${manifest.kernel.version}`;
    const text = JSON.stringify({ title, kernel: 'kernel', initrd: 'initrd', commandLine });
    return { type: 'application/json', body: { bytes: new TextEncoder().encode(text) } };
  }

  async #code(file: string, type: string): Promise<Page | undefined> {
    let bytes = this.#stripped.get(file);
    if (bytes === undefined) {
      const source = await readFile(file, 'utf8').catch(() => undefined);
      if (source === undefined) return undefined;
      bytes = new TextEncoder().encode(withoutTypes(source));
      this.#stripped.set(file, bytes);
    }
    return { type, body: { bytes } };
  }
}

async function fromFile(file: string, type: string): Promise<Page | undefined> {
  const found = await stat(file).catch(() => undefined);
  return found?.isFile() ? { type, body: { file, sizeBytes: found.size } } : undefined;
}

/** In a clone the terminal lies where npm has put it. */
function vendored(name: string): string {
  const home = dirname(createRequire(codeFolder).resolve('@xterm/xterm/package.json'));
  return join(home, name.endsWith('.css') ? 'css' : 'lib', name);
}

/** Node runs our sources by the same means, but calls them experimental when a program asks for them. */
function withoutTypes(source: string): string {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return stripTypeScriptTypes(source);
  } finally {
    process.emitWarning = emitWarning;
  }
}
