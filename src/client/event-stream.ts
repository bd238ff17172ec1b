/** The data of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), as they come. */

/** Longer lines are no event of ours. */
const MOST_CHARACTERS = 1 << 20;

/** Comments, ids and kinds are passed over: our events hold theirs. */
export async function* eventData(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  let data: string[] = [];
  for await (const bytes of body) {
    const text = rest + decoder.decode(bytes, { stream: true });
    // The second half of an end of line may be on its way.
    const whole = text.endsWith('\r') ? text.slice(0, -1) : text;
    const lines = whole.split(/\r\n|\n|\r/);
    rest = (lines.pop() ?? '') + text.slice(whole.length);
    if (rest.length > MOST_CHARACTERS) throw new Error('an event is longer than an event can be');
    for (const line of lines) {
      if (line.startsWith('data:')) data.push(line.slice(line.startsWith('data: ') ? 6 : 5));
      else if (line === '' && data.length > 0) {
        yield data.join('\n');
        data = [];
      }
    }
  }
}
