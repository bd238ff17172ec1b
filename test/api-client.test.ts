import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { openApiDocument } from '../src/daemon/api/openapi.ts';
import { clientFile, clientSource, type Document } from '../tools/api-client.ts';
import { root } from '../tools/repository.ts';

const document = openApiDocument('0.0.0');

describe('the OpenAPI document', () => {
  test('is one of OpenAPI 3.1, by the schema of the specification', async () => {
    const { valid, errors } = await new Validator().validate(structuredClone(document));
    assert.deepEqual({ valid, errors }, { valid: true, errors: undefined });
  });

  test('every operation has a name of its own, and says what errors look like', () => {
    const operations = Object.values((document as unknown as Document).paths).flatMap((item) => Object.values(item));
    const names = operations.map((one) => one.operationId);
    assert.equal(new Set(names).size, names.length);
    for (const { responses } of operations) assert.ok(responses['default']?.content?.['application/problem+json']);
  });
});

test('the typed client is made of it', () => {
  const path = join(root, clientFile);
  const biome = join(root, 'node_modules/.bin/biome');
  const source = clientSource(document as unknown as Document);
  const formatted = spawnSync(biome, ['format', `--stdin-file-path=${clientFile}`], { cwd: root, input: source });
  const fresh = formatted.stdout.toString();
  assert.equal(formatted.status, 0, formatted.stderr.toString());
  if (process.env['ACCEPT'] === '1') writeFileSync(path, fresh);
  assert.equal(readFileSync(path, 'utf8'), fresh, 'npm test -- test/api-client.test.ts --accept writes it');
});
