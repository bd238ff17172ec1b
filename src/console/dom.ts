/** Elements in one expression. Text is always text: nothing of a guest's is read as HTML. */
type Value = string | number | boolean | undefined | ((event: Event) => void);
export type Attributes = Readonly<Record<string, Value>>;
export type Child = Node | string | undefined | false;

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for drawings. */
export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: readonly Child[]
): SVGElementTagNameMap[K] {
  return filled(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

function filled<T extends Element>(element: T, attributes: Attributes, children: readonly Child[]): T {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name, value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.filter((child) => child !== undefined && child !== false));
  return element;
}

/** `header` and rows; a number stands to the right. */
export function table(caption: string, header: readonly string[], rows: readonly (readonly Cell[])[]): HTMLElement {
  const head = h('thead', {}, h('tr', {}, ...header.map((text) => h('th', { scope: 'col' }, text))));
  const body = rows.map((row) => h('tr', {}, ...row.map(cell)));
  return h(
    'div',
    { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption },
    h('table', {}, h('caption', {}, caption), head, h('tbody', {}, ...body)),
  );
}

export type Cell = string | number | Node;

function cell(value: Cell, column: number): HTMLElement {
  if (typeof value === 'number') return h('td', { class: 'number' }, value.toLocaleString('en'));
  return column === 0 ? h('th', { scope: 'row' }, value) : h('td', {}, value);
}

/** Puts `children` in the place of what is there, but leaves it, and its focus, where nothing changed. */
export function replace(place: Element, ...children: readonly Node[]): void {
  const text = (nodes: readonly Node[]): string =>
    nodes.map((node) => (node instanceof Element ? node.outerHTML : node.textContent)).join('');
  if (text([...place.childNodes]) === text(children)) return;
  const focused = document.activeElement;
  const id = focused !== null && place.contains(focused) ? focused.id : '';
  place.replaceChildren(...children);
  if (id !== '') document.getElementById(id)?.focus();
}
