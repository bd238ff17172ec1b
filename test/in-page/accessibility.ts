/**
 * What can be said of a page's accessibility without people: interactive elements and drawings have names, headings and ids
 * are in order, text stands out from its ground (WCAG 2.2, 1.4.3: 4.5, of large text 3). It is evaluated in the page, and
 * stands alone for that: test/system/console.testing.ts.
 */

/** A sentence for each problem. Terminals are xterm.js's own. */
export function accessibilityProblems(): string[] {
  const problems: string[] = [];
  const visible = (element: Element): boolean =>
    element.checkVisibility({ visibilityProperty: true }) && element.closest('.xterm, [aria-hidden="true"]') === null;
  const all = (selector: string): Element[] => [...document.querySelectorAll(selector)].filter(visible);
  const what = (element: Element): string => element.outerHTML.slice(0, 100);

  for (const element of all(
    'a, button, input, select, textarea, summary, [role="img"], [role="region"], nav, [tabindex="0"]',
  ))
    if (nameOf(element) === '') problems.push(`no name: ${what(element)}`);
  if (all('h1').length !== 1) problems.push(`${all('h1').length} headings of the first level`);
  const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id);
  for (const id of new Set(ids.filter((one, i) => ids.indexOf(one) !== i))) problems.push(`twice: id ${id}`);
  for (const table of all('table'))
    if (table.querySelector('caption, th') === null) problems.push(`bare: ${what(table)}`);
  for (const element of all('body *')) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && (node.textContent ?? '').trim() !== '');
    if (!text || element.matches(':disabled, option, title, noscript')) continue;
    const style = getComputedStyle(element);
    const colour = element instanceof SVGElement ? style.fill : style.color;
    const size = Number.parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = contrast(parsed(colour), groundOf(element));
    if (ratio < (isLarge ? 3 : 4.5)) problems.push(`contrast ${ratio.toFixed(2)}: ${what(element)}`);
  }
  return problems;

  function nameOf(element: Element): string {
    const labels = 'labels' in element ? [...((element.labels as NodeListOf<Element> | null) ?? [])] : [];
    const named = (element.getAttribute('aria-labelledby') ?? '').split(' ').map((id) => document.getElementById(id));
    const texts = [
      element.getAttribute('aria-label'),
      ...[...labels, ...named].map((one) => one?.textContent),
      element.textContent,
    ];
    return (texts.find((text) => (text ?? '').trim() !== '') ?? '').trim();
  }
  function parsed(colour: string): number[] {
    return (colour.match(/[\d.]+/g) ?? []).map(Number);
  }
  /** The ground is opaque everywhere; in drawings it is a node's rectangle. */
  function groundOf(element: Element): number[] {
    const rect = element instanceof SVGElement ? element.parentElement?.querySelector('rect') : undefined;
    if (rect) return parsed(getComputedStyle(rect).fill);
    for (let at: Element | null = element; at !== null; at = at.parentElement) {
      const ground = parsed(getComputedStyle(at).backgroundColor);
      if (ground.length === 3 || (ground[3] ?? 0) > 0) return ground;
    }
    return [255, 255, 255];
  }
  function contrast(one: readonly number[], other: readonly number[]): number {
    const [low = 0, high = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  }
  function luminance(colour: readonly number[]): number {
    const [r = 0, g = 0, b = 0] = colour.map((value) => {
      const part = value / 255;
      return part <= 0.040_45 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }
}
