/**
 * The other end of a measurement: sends a numbered datagram each ten milliseconds to ADDRESS, port 7000, and keeps which came
 * from there, and when. `node bench/network/paced-peer.ts ADDRESS`; for each line on stdin it prints what it has as JSON.
 */
import { createSocket } from 'node:dgram';
import { createInterface } from 'node:readline';
import { INTERVAL_MS, type Ledger, newLedger, nowMs, PORT, pace } from './ledger.ts';

const [address = ''] = process.argv.slice(2);
const ledger: Ledger = newLedger();
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
createInterface({ input: process.stdin })
  .on('line', () => process.stdout.write(`${JSON.stringify(ledger)}\n`))
  .on('close', () => process.exit(0));
