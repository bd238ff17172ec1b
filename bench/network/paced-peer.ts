/**
 * The other end of a measurement: sends a numbered datagram each ten milliseconds to ADDRESS, port 7000, and keeps which came
 * from there, and when; on a TCP connection to port 7001 it counts up, and checks what the other end counts. `node bench/network/paced-peer.ts ADDRESS`; for each line on stdin it prints what it has as JSON.
 */
import { createSocket } from 'node:dgram';
import { createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { INTERVAL_MS, newLedger, nowMs, PORT, pace, TCP_PORT, type TcpTally } from './ledger.ts';

const [address = ''] = process.argv.slice(2);
const tcp: TcpTally = { sent: 0, got: 0, isBroken: false, isOutOfOrder: false };
const ledger = { ...newLedger(), tcp };
const socket = createSocket('udp4');
socket.on('error', () => {}); // unreachable for a moment: that is what is measured
socket.on('message', (bytes) => {
  if (bytes.length >= 4) ledger.got.push([bytes.readUInt32BE(0), nowMs()]);
});
socket.bind(PORT, () => {
  pace(INTERVAL_MS, (number) => {
    const bytes = Buffer.alloc(64);
    bytes.writeUInt32BE(number);
    ledger.sent.push([number, nowMs()]);
    socket.send(bytes, PORT, address);
  });
});
createServer((client) => {
  const stop = pace(INTERVAL_MS, (number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(number);
    client.write(bytes);
    tcp.sent = number;
  });
  client.on('error', () => {
    tcp.isBroken = true;
  });
  client.on('close', stop);
  count(client);
}).listen(TCP_PORT);

/** Whether what comes counts up. */
function count(client: Socket): void {
  let rest = Buffer.alloc(0);
  client.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    for (; rest.length >= 4; rest = rest.subarray(4)) {
      tcp.got += 1;
      if (rest.readUInt32BE(0) !== tcp.got) tcp.isOutOfOrder = true;
    }
  });
}

createInterface({ input: process.stdin })
  .on('line', () => process.stdout.write(`${JSON.stringify(ledger)}\n`))
  .on('close', () => process.exit(0));
