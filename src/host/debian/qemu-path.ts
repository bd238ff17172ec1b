/** Prints, as JSON, how to start the reference QEMU (fetched if need be): {"command": [...], "version": "..."}. */
import { fetchQemu } from './tools.ts';

const { command, version } = await fetchQemu({
  progress: ({ step, done, total }) => {
    if (done === 0) process.stderr.write(`${step}${total > 0 ? ` (${total})` : ''}\n`);
  },
});
process.stdout.write(`${JSON.stringify({ command, version })}\n`);
