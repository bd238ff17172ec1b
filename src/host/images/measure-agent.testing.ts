/** `node src/host/images/measure-agent.testing.ts`: what the agent costs in the Debian image under the reference QEMU. */
import { pullDebianImage } from './pull.ts';
import { bootInQemu } from './qemu.testing.ts';

const image = await pullDebianImage();
const started = performance.now();
const guest = await bootInQemu({ ...image, limitMs: 120_000 });
try {
  await guest.session.ready();
  const say = (what: string, ms: number): void => {
    process.stdout.write(`${what.padEnd(44)}${ms.toFixed(0).padStart(7)} ms\n`);
  };
  say('QEMU started to agent ready', performance.now() - started);
  const timed = async (what: string, argv: string[], stdin?: Uint8Array): Promise<void> => {
    const begin = performance.now();
    await guest.session.run({ argv, ...(stdin ? { stdin } : {}) });
    say(what, performance.now() - begin);
  };
  for (let round = 1; round <= 3; round += 1) await timed(`a command and its answer, ${round}`, ['true']);
  await timed('10 MB of output', ['head', '-c', '10000000', '/dev/zero']);
  await timed('10 MB of input', ['sh', '-c', 'cat > /dev/null'], new Uint8Array(10_000_000));
  const { stdout } = await guest.session.run({ argv: ['sh', '-c', "dmesg | grep 'Run /init'; cat /proc/uptime"] });
  process.stdout.write(Buffer.from(stdout).toString('utf8'));
} finally {
  await guest.kill();
}
