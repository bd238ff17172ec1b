import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { importsOf, layerProblems } from '../tools/check-layers.ts';
import { coreFolders, drawing, emptyDrawing, withDrawing } from '../tools/drawing.ts';
import { rooms } from '../tools/layers.ts';
import { readRepository, sourceFiles } from '../tools/repository.ts';

/** One import in one file, and what the linter says of it (undefined: nothing). */
const cases: readonly [path: string, statement: string, says: RegExp | undefined][] = [
  ['src/isa/table.ts', "import { bit } from '../base/bits.ts';", undefined],
  ['src/isa/rows/float.ts', "import { row } from '../row.ts';", undefined],
  ['src/isa/table.ts', "import { wasm } from '../wasm/index.ts';", /isa may not import wasm/],
  ['src/engine/mmu.ts', "import { decode } from '../isa/index.ts';", undefined],
  ['src/engine/mmu.ts', "import { decode } from '../isa/decoder.ts';", /passes by the door src\/isa\/index\.ts/],
  ['src/engine/mmu.ts', "import type { Row } from '../isa/row.ts';", /passes by the door/],
  ['src/base/bits.ts', "export * from '../isa/index.ts';", /base may not import isa/],
  ['src/hypervisor/vcpu.ts', "import { Uart } from '../devices/index.ts';", /hypervisor may not import devices/],
  ['src/devices/plic.ts', "import type { Vcpu } from '../hypervisor/index.ts';", /devices may not import hypervisor/],
  ['src/network/tcp.ts', "import { run } from '../engine/index.ts';", /network may not import engine/],
  ['src/machine/virt.ts', "import { Uart } from '../devices/index.ts';", undefined],
  ['src/machine/virt.ts', "import { File } from '../host/index.ts';", /machine may not import host/],
  ['src/machine/virt.ts', "import { readFileSync } from 'node:fs';", /core room machine may not import 'node:fs'/],
  ['src/engine/mmu.ts', "const fs = await import('node:fs');", /core room engine may not import 'node:fs'/],
  ['src/engine/mmu.test.ts', "import { test } from 'node:test';", undefined],
  ['src/host/files.ts', "import { readFileSync } from 'node:fs';", undefined],
  ['src/cli/x.ts', "import { x } from '../host/machine/processor-worker.ts';", /passes by the door/],
  ['src/cli/x.ts', "import { x } from '../host/machine/processor-worker-start.ts';", undefined],
  ['src/host/pool.ts', "new Worker(new URL('./worker.ts', import.meta.url));", undefined],
  ['src/host/pool.ts', "new Worker(new URL('../engine/worker.ts', import.meta.url));", /passes by the door/],
  ['src/host/agent.ts', "new URL('../../guest/agent.sh', import.meta.url)", undefined],
  ['src/machine/agent.ts', "new URL('../../guest/agent.sh', import.meta.url)", /leaves src/],
  ['src/host/files.ts', "import chalk from 'chalk';", /is a package/],
  ['src/host/files.ts', "import { Command } from 'commander';", /is a package/],
  ['src/cli/program.ts', "import { Command } from 'commander';", undefined],
  ['src/host/files.ts', "import { tidy } from '../../tools/tidy.ts';", /leaves src/],
  ['src/host/files.ts', "import { x } from './other';", /needs its ending/],
  ['src/devices/uart.ts', "import { fake } from './driver.testing.ts';", /only for tests/],
  ['src/machine/virt.test.ts', "import { fake } from '../devices/driver.testing.ts';", undefined],
  ['src/devices/uart.test.ts', "import { fake } from '../engine/frames.testing.ts';", /devices may not import engine/],
  ['src/devices/uart.test.ts', "import { requires } from '../../test/capability.ts';", undefined],
  ['src/index.ts', "export { Machine } from './machine/index.ts';", undefined],
  ['src/index.ts', "export { decode } from './isa/index.ts';", /the library may not import isa/],
  ['src/browser/page.ts', "import { Board } from '../machine/index.ts';", undefined],
  ['src/browser/page.ts', "import type { Terminal } from '@xterm/xterm';", undefined],
  ['src/browser/page.ts', "import { readFileSync } from 'node:fs';", /web room browser may not import 'node:fs'/],
  ['src/browser/page.ts', "import { createMachine } from '../host/index.ts';", /browser may not import host/],
  ['src/host/server.ts', "import { BrowserMachine } from '../browser/index.ts';", /host may not import browser/],
  ['src/manager/all.ts', "import { x } from './x.ts';", /lies in no room/],
];

describe('the linter of the layers', () => {
  for (const [path, text, says] of cases) {
    test(`${path}: ${text}`, () => {
      const problems = layerProblems([{ path, text }]);
      if (says === undefined) assert.deepEqual(problems, []);
      else assert.match(problems.join('\n'), says);
      assert.ok(problems.length <= 1);
    });
  }

  test('imports are found in every shape, and not in comments', () => {
    const text = [
      '/** import { a } from "./comment.ts"; */',
      "import { type A, b } from './one.ts';",
      'import {',
      '  c,',
      "} from './two.ts';",
      "// import { d } from './comment.ts';",
      "import './three.ts';",
      "export type { E } from './four.ts';",
      "const f = await import('./five.ts'); // import('./comment.ts')",
    ].join('\n');
    const found = importsOf(text).map(({ specifier, line }) => `${line} ${specifier}`);
    assert.deepEqual(found, ['2 ./one.ts', '3 ./two.ts', '7 ./three.ts', '8 ./four.ts', '9 ./five.ts']);
  });
});

describe('the layers', () => {
  test('a room imports only rooms to its left', () => {
    for (const [i, room] of rooms.entries()) {
      const left = rooms.slice(0, i).map((other) => other.name);
      for (const name of room.imports) assert.ok(left.includes(name), `${room.name} imports ${name}`);
    }
  });

  test('a core room imports core rooms alone', () => {
    for (const room of rooms.filter((one) => one.core)) {
      for (const name of room.imports) assert.ok(coreFolders().includes(`src/${name}`), `${room.name} imports ${name}`);
    }
  });

  test('the drawing names every room once, and replaces what stands between its markers', () => {
    const text = drawing(rooms);
    for (const room of rooms) assert.equal(text.split(`| ${room.name}${room.core ? ' [core]' : ' '}`).length, 2);
    const document = `before\n${emptyDrawing}after\n`;
    assert.equal(withDrawing(withDrawing(document)), withDrawing(document));
    assert.match(withDrawing(document), /^before\n<!--[\s\S]*-->\nafter\n$/);
    assert.throws(() => withDrawing('no markers'), /lacks the markers/);
  });

  test('the source keeps them', () => {
    assert.deepEqual(layerProblems(sourceFiles(readRepository())), []);
  });
});
