/**
 * A way into a network namespace for a process outside of it: started there, it joins each connection to its socket in the
 * file system with a TCP connection of its own. The first line names where to, `10.9.0.1 7000`; the answer is a line with what
 * became of it, `ok` or an error's code.
 *
 *   node cluster-relay.testing.ts SOCKET
 */
import { connect, createServer, type Socket } from 'node:net';

const [, , path = ''] = process.argv;
const server = createServer({ allowHalfOpen: true }, (near) => {
  let line = '';
  near.on('error', () => near.destroy());
  near.on('data', function named(bytes: Buffer) {
    line += bytes.toString('latin1');
    if (!line.includes('\n')) return;
    near.off('data', named);
    near.pause();
    const [host = '', port] = line.trim().split(' ');
    join(near, connect({ host, port: Number(port), allowHalfOpen: true, noDelay: true }));
  });
});
server.listen(path, () => process.stdout.write('listens\n'));
// Its end is the end of who started it.
process.stdin.on('end', () => process.exit(0)).resume();

function join(near: Socket, far: Socket): void {
  let isJoined = false;
  far.once('connect', () => {
    isJoined = true;
    near.write('ok\n');
    near.pipe(far);
    far.pipe(near);
  });
  far.on('error', (error: NodeJS.ErrnoException) => {
    if (isJoined) near.destroy();
    else near.end(`${error.code}\n`);
  });
  near.on('close', () => far.destroy());
  // A connection that breaks here breaks there.
  far.on('close', (isBroken) => isBroken && isJoined && near.destroy());
}
