/**
 * What can be said of a page's accessibility without people: interactive elements and drawings have names, headings and ids
 * are in order, text stands out from its ground (WCAG 2.2, 1.4.3: 4.5, of large text 3). It is evaluated in the page, and
 * stands alone for that: test/system/console.testing.ts.
 */
/** A sentence for each problem. Terminals are xterm.js's own. */
export declare function accessibilityProblems(): string[];
