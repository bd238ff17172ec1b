/**
 * Test files that take long, with about how many seconds each takes among others on two cores: a run starts them first, the
 * longest of all at its beginning, so that none is left alone at its end. Runs print what took longest (tools/test.ts); the
 * numbers only order, and want no care. Files that are not here are short.
 */
const seconds: Readonly<Record<string, number>> = {};

/** The slow ones first, the others as they were. */
export function inOrder(files: readonly string[]): string[] {
  return files.toSorted((a, b) => (seconds[b] ?? 0) - (seconds[a] ?? 0));
}
