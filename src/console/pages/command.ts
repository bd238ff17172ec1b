/** A command in the guest, by its agent: what it says as it says it, and its code. */
import { h } from '../dom.ts';
import { onSubmit, type Place } from '../page.ts';

const [STDIN, STDOUT, STDERR] = [0, 1, 2];
const MOST_CHARACTERS = 200_000;

export function commandSection({ main, client, signal }: Place, name: string): void {
  const output = h('pre', { class: 'output', tabindex: 0, role: 'log', 'aria-label': 'Output' });
  const state = h('p', { class: 'quiet', role: 'status' }, 'By the guest agent, in a shell.');
  const input = h('input', { name: 'line', id: 'line', autocomplete: 'off', spellcheck: 'false', required: true });
  const form = h(
    'form',
    { class: 'line' },
    h('label', { for: 'line' }, 'Command'),
    input,
    h('button', { class: 'primary' }, 'Run'),
  );
  onSubmit(form, async (data) => {
    const line = String(data.get('line'));
    output.textContent = '';
    state.textContent = 'It runs …';
    const ended = await run(line);
    state.textContent = ended;
  });
  main.append(form, state, output);
  input.focus();

  async function run(line: string): Promise<string> {
    const socket = await client.attachExec(name, { signal });
    const decoders = { [STDOUT]: new TextDecoder(), [STDERR]: new TextDecoder() };
    socket.send(JSON.stringify({ argv: ['/bin/sh', '-c', line] }));
    socket.send(Uint8Array.of(STDIN));
    for await (const message of socket.messages()) {
      if (typeof message === 'string') return endOf(message);
      const [channel = STDOUT] = message;
      const text = decoders[channel]?.decode(message.subarray(1), { stream: true }) ?? '';
      const shown = channel === STDERR ? h('span', { class: 'stderr' }, text) : text;
      if ((output.textContent?.length ?? 0) < MOST_CHARACTERS) output.append(shown);
    }
    return 'The conversation broke off.';
  }
}

function endOf(message: string): string {
  const said = JSON.parse(message) as { kind: string; code?: number; problem?: { detail: string; fix?: string } };
  if (said.kind === 'exit') return `It ended with code ${said.code}.`;
  return `${said.problem?.detail}. ${said.problem?.fix ?? ''}`;
}
