/**
 * What the switch costs a frame: `node bench/network/switch-path.ts`. One interface and one uplink, as most guests have;
 * frames out and in, plain and with offloads that pass; then the finishing of what a link does not take. Prints the
 * nanoseconds a frame, best of five.
 */
import { encodeIpv4, newIpv4Header } from '../../src/network/ipv4.ts';
import { NetworkPaths } from '../../src/network/paths/index.ts';

const FRAMES = 200_000;
const timers = { after: () => ({ cancel: () => {} }) };
const GUEST = 0x525400123456;
const HOST = 0x52550a000202;

function frame(to: number, from: number, bytes: number): Uint8Array {
  const made = new Uint8Array(bytes);
  const view = new DataView(made.buffer);
  for (const [at, mac] of [
    [0, to],
    [6, from],
  ] as const) {
    view.setUint16(at, Math.floor(mac / 2 ** 32));
    view.setUint32(at + 2, mac % 2 ** 32);
  }
  view.setUint16(12, 0x0800);
  encodeIpv4(view, 14, { ...newIpv4Header(), protocol: 6, ttl: 64, payloadBytes: bytes - 34 });
  made[46] = 0x50;
  return made;
}

function bed(offloads: boolean): {
  out(f: Uint8Array, large: boolean): void;
  into(f: Uint8Array, large: boolean): void;
} {
  let next = 1;
  const paths = new NetworkPaths({
    clock: { nowMs: () => performance.now() },
    timers,
    random: () => (next += 7),
    wallMs: () => Date.now(),
  });
  const up = paths.addUplink(
    { name: 'u', kind: 'user', network: 'n', probing: 'none', offloads },
    { send: () => true },
  );
  const port = paths.addInterface(
    { name: 'i', mac: GUEST, uplinks: ['u'] },
    { deliver: () => true, setLinkUp: () => {} },
  );
  port.setGuestOffload({ checksum: true, largePacketBytes: 65_535 });
  const large = { checksumValid: true, segmentBytes: 1448 };
  return {
    out: (f, isLarge) => (isLarge ? port.receive(f, large) : port.receive(f)),
    into: (f, isLarge) => void (isLarge ? up.receive(f, large) : up.receive(f)),
  };
}

function measure(name: string, count: number, body: () => void): void {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 5; round += 1) {
    const start = performance.now();
    for (let i = 0; i < count; i += 1) body();
    best = Math.min(best, performance.now() - start);
  }
  process.stdout.write(`${name.padEnd(44)} ${((best * 1e6) / count).toFixed(0).padStart(8)} ns a frame\n`);
}

const whole = bed(true);
const cut = bed(false);
const [small, big] = [1514, 65_226].map((bytes) => [frame(HOST, GUEST, bytes), frame(GUEST, HOST, bytes)] as const);
if (small !== undefined && big !== undefined) {
  measure('out, 1514 bytes', FRAMES, () => whole.out(small[0], false));
  measure('in, 1514 bytes', FRAMES, () => whole.into(small[1], false));
  measure('out, 65226 bytes, passed as they are', FRAMES, () => whole.out(big[0], true));
  measure('in, 65226 bytes, passed as they are', FRAMES, () => whole.into(big[1], true));
  measure('out, 65226 bytes, cut into segments', 500, () => cut.out(big[0], true));
}
