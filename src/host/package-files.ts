/**
 * Where the package's own files lie. All paths climb to the folder of the rooms first: what is published joins modules to
 * files in other folders, one level deep as this one (tools/bundle.ts).
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Of the package, as its manifest says. */
export function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', codeFolder), 'utf8'));
  const isManifest = typeof manifest === 'object' && manifest !== null && 'version' in manifest;
  return isManifest ? String(manifest.version) : 'unknown';
}

/** A machine's threads. */
export const processorWorker = new URL('../host/machine/processor-worker.ts', import.meta.url);
export const translationWorker = new URL('../host/machine/translation-worker.ts', import.meta.url);

/** What runs in guests. */
export const guestFolder = new URL('../../guest/', import.meta.url);

/** The folder of the rooms: src/ in a clone, dist/ in what is published. */
export const codeFolder = new URL('./', new URL('../index.ts', import.meta.url));
export const isSource = import.meta.filename.endsWith('.ts');

/** The folder of the console's pages. In a clone they are there once `npm run build` has made them. */
export const consolePages = folderIfThere(new URL(isSource ? '../dist/console/' : './console/', codeFolder));

function folderIfThere(address: URL): string | undefined {
  return existsSync(new URL('index.html', address)) ? fileURLToPath(address) : undefined;
}

/** Put in its place by tools/bundle.ts. */
declare const KAGEMUSHA_BUILD: string;
/** What was built: a digest of all its code. Undefined in a clone, where code changes under the same name. */
export const build = typeof KAGEMUSHA_BUILD === 'string' ? KAGEMUSHA_BUILD : undefined;
/** Whether this is the published package: its code is the same as long as its build is. */
export const isPublished = build !== undefined;
