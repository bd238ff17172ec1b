/**
 * Device trees as source text (the DTS language, Devicetree Specification 0.4, appendix A), for people and golden
 * files. Values are guessed as strings, cells or bytes, as `dtc -O dts` does; `dtc` reads the result back to the
 * same bytes.
 */
import { readCells, readStrings, type TreeNode } from './tree.ts';

/** The text of a whole tree, `/dts-v1/` included. */
export function deviceTreeSource(root: TreeNode): string {
  return `/dts-v1/;\n\n${nodeText({ ...root, name: '/' }, '')}`;
}

function nodeText(node: TreeNode, indent: string): string {
  const inner = `${indent}\t`;
  const properties = [...node.properties].map(([name, value]) => `${inner}${name}${valueText(value)};\n`).join('');
  const children = node.children.map((child) => nodeText(child, inner));
  const blocks = properties === '' ? children : [properties, ...children];
  return `${indent}${node.name} {\n${blocks.join('\n')}${indent}};\n`;
}

function valueText(value: Uint8Array): string {
  if (value.length === 0) return '';
  const strings = readStrings(value);
  if (strings !== undefined) return ` = ${strings.map((text) => `"${text.replace(/["\\]/g, '\\$&')}"`).join(', ')}`;
  const cells = readCells(value);
  if (cells !== undefined) return ` = <${cells.map((cell) => `0x${cell.toString(16)}`).join(' ')}>`;
  return ` = [${[...value].map((byte) => byte.toString(16).padStart(2, '0')).join(' ')}]`;
}
