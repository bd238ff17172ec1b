/** A terminal in a page: xterm.js, loaded when it is first needed. It is as large as its place. */
import type { Terminal } from '@xterm/xterm';

const FONT = 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace';
const FONT_PX = 14;
const ROWS = 24;

export interface PageTerminal {
  write(bytes: Uint8Array): void;
  say(line: string): void;
  focus(): void;
  close(): void;
}

export interface TerminalOptions {
  readonly label: string;
  /** What is typed and pasted. */
  readonly onInput: (bytes: Uint8Array) => void;
  /** Where the focus goes by Shift+Escape: a terminal takes Tab for itself. */
  readonly leave: () => void;
}

export async function openTerminal(place: HTMLElement, options: TerminalOptions): Promise<PageTerminal> {
  const { Terminal } = await import('@xterm/xterm');
  const terminal = new Terminal({
    ...{ cols: columnsFor(place), rows: ROWS, scrollback: 5000, cursorBlink: true },
    ...{ fontFamily: FONT, fontSize: FONT_PX, screenReaderMode: true },
    theme: { background: '#0d0f12', foreground: '#e8e4da', cursor: '#e8705f', selectionBackground: '#d2493a88' },
  });
  terminal.open(place);
  terminal.textarea?.setAttribute('aria-label', options.label);
  const encoder = new TextEncoder();
  terminal.onData((text) => options.onInput(encoder.encode(text)));
  terminal.onBinary((text) => options.onInput(Uint8Array.from(text, (letter) => letter.charCodeAt(0))));
  terminal.attachCustomKeyEventHandler((event) => {
    if (event.key !== 'Escape' || !event.shiftKey) return true;
    if (event.type === 'keydown') options.leave();
    return false;
  });
  const observer = new ResizeObserver(() => resize(terminal, place));
  observer.observe(place);
  return {
    write: (bytes) => terminal.write(bytes),
    say: (line) => terminal.write(`\r\n\u001b[2m${line}\u001b[0m\r\n`),
    focus: () => terminal.focus(),
    close: () => {
      observer.disconnect();
      terminal.dispose();
    },
  };
}

function resize(terminal: Terminal, place: HTMLElement): void {
  const columns = columnsFor(place);
  if (columns !== terminal.cols) terminal.resize(columns, ROWS);
}

/** A serial line has 80 columns for most programs; a phone has fewer. */
function columnsFor(place: HTMLElement): number {
  const context = document.createElement('canvas').getContext('2d');
  if (context === null) return 80;
  context.font = `${FONT_PX}px ${FONT}`;
  return Math.min(Math.max(Math.floor((place.clientWidth - 24) / context.measureText('W').width), 20), 120);
}
