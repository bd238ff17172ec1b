/** The standby of bench/replication-run.ts, in a process of its own: `node bench/replication-standby.ts ADDRESS`. */
import { receiveMachine } from '../src/host/index.ts';

const receiver = await receiveMachine({
  listen: process.argv[2] ?? '',
  machine: { name: `bench-standby-${process.pid}` },
});
process.send?.('listening');
process.once('disconnect', () => void receiver.close().then(() => process.exit(0)));
