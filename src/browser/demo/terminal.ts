/**
 * The page's terminal: xterm.js, loaded when it is first needed. It has 80 columns and 24 rows, what programs take a
 * serial line to have, and grows by its letters instead: as large as the place allows.
 */
import type { Terminal } from '@xterm/xterm';

const COLUMNS = 80;
const ROWS = 24;
const FONT = 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace';
const FONT_PX = { least: 8, most: 17 };

export interface PageTerminal {
  write(bytes: Uint8Array): void;
  clear(): void;
  focus(): void;
}

/** `onInput` gets what is typed and pasted, as bytes. */
export async function openTerminal(place: HTMLElement, onInput: (bytes: Uint8Array) => void): Promise<PageTerminal> {
  const { Terminal } = await import('@xterm/xterm');
  const terminal = new Terminal({
    cols: COLUMNS,
    rows: ROWS,
    scrollback: 5000,
    cursorBlink: true,
    fontFamily: FONT,
    fontSize: fontFor(place),
    theme: {
      background: '#0d0f12',
      foreground: '#e8e4da',
      cursor: '#d2493a',
      selectionBackground: '#d2493a55',
      red: '#d2493a',
      green: '#7fb58a',
      yellow: '#d9b36c',
      blue: '#7a9fd0',
    },
  });
  terminal.open(place);
  const encoder = new TextEncoder();
  terminal.onData((text) => onInput(encoder.encode(text)));
  terminal.onBinary((text) => onInput(Uint8Array.from(text, (letter) => letter.charCodeAt(0))));
  new ResizeObserver(() => resize(terminal, place)).observe(place);
  return {
    write: (bytes) => terminal.write(bytes),
    clear: () => terminal.reset(),
    focus: () => terminal.focus(),
  };
}

function resize(terminal: Terminal, place: HTMLElement): void {
  const size = fontFor(place);
  if (terminal.options.fontSize !== size) terminal.options.fontSize = size;
}

/** The largest letters of which 80 fit side by side, the scroll bar aside. */
function fontFor(place: HTMLElement): number {
  const context = document.createElement('canvas').getContext('2d');
  if (context === null) return FONT_PX.most;
  context.font = `100px ${FONT}`;
  const widthOfOnePx = context.measureText('W').width / 100;
  const fits = Math.floor((place.clientWidth - 20) / (COLUMNS * widthOfOnePx));
  return Math.min(Math.max(fits, FONT_PX.least), FONT_PX.most);
}
