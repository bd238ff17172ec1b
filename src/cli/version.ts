/** Our version, from the package's manifest: it lies two folders above, in the sources as in what is published. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8'));
  const isManifest = typeof manifest === 'object' && manifest !== null && 'version' in manifest;
  return isManifest ? String(manifest.version) : 'unknown';
}
