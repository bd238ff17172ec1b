/**
 * Paths on the real thing: QEMU's own stream sockets as peers of our uplinks, and path failures between macvtap devices in
 * network namespaces (the short form of bench/network-paths.ts).
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { MachineNetworks } from '../../src/host/network/machine-networks.ts';
import { ARP_REQUEST, decodeArp, newArpMessage } from '../../src/network/arp.ts';
import { formatMac, type NetdevOptions } from '../../src/network/index.ts';
import { arp } from '../../src/network/paths/segment.testing.ts';
import { requires } from '../capability.ts';
import { programPath } from '../toolbox.ts';
import { freePort } from './free-port.testing.ts';

const GUEST_MAC = 0x525400123457;
/** QEMU's user network asks and answers at this address. */
const GATEWAY = 0x0a000202;

/** A QEMU without a machine: its user network, behind a hub, at the other end of our stream. */
function qemu(stream: string): { end(): Promise<void> } {
  const hub = ['-netdev', 'hubport,hubid=0,id=a,netdev=s', '-netdev', 'hubport,hubid=0,id=b,netdev=u'];
  const args = ['-machine', 'none', '-nodefaults', '-display', 'none', '-netdev', 'user,id=u', '-netdev', stream];
  const child = spawn(programPath('qemu-system-riscv64'), [...args, ...hub], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return {
    end: async () => {
      const ended = once(child, 'close');
      child.kill();
      await ended;
    },
  };
}

/** Asks for the gateway until it answers; the hardware address that it has. */
async function gatewayBehind(netdev: NetdevOptions): Promise<string> {
  const networks = new MachineNetworks();
  const guest = await networks.attach({ owner: 'test', mac: formatMac(GUEST_MAC), netdevs: [netdev] });
  const answer = Promise.withResolvers<string>();
  let isUp = false;
  guest.connect({
    receive: (frame) => {
      const message = newArpMessage();
      const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
      if (decodeArp(view, 14, frame.length - 14, message) && message.senderAddress === GATEWAY)
        answer.resolve(formatMac(message.senderMac));
      return true;
    },
    setLinkUp: (up) => {
      isUp = up;
    },
  });
  const own = { mac: GUEST_MAC, address: 0x0a00020f };
  const ask = (): void => guest.receive(arp(ARP_REQUEST, own, { mac: 0, address: GATEWAY }));
  const timer = setInterval(() => isUp && ask(), 50);
  try {
    return await answer.promise;
  } finally {
    clearInterval(timer);
    guest.close();
    networks.close();
  }
}

describe('QEMU at the other end of a stream', requires('qemu'), () => {
  const folder = mkdtempSync(join(tmpdir(), 'kage-qemu-stream-'));
  const path = join(folder, 'stream.sock');
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const limit = { timeout: 60_000 };

  test('QEMU listens at a path', limit, async () => {
    const peer = qemu(`stream,id=s,server=on,addr.type=unix,addr.path=${path}`);
    assert.equal(await gatewayBehind({ kind: 'stream', path, reconnectMs: 50 }), '52:55:0a:00:02:02');
    await peer.end();
  });

  test('we listen at a path', limit, async () => {
    const answer = gatewayBehind({ kind: 'stream', server: true, path: `${path}2` });
    const peer = qemu(`stream,id=s,server=off,addr.type=unix,addr.path=${path}2,reconnect-ms=50`);
    assert.equal(await answer, '52:55:0a:00:02:02');
    await peer.end();
  });

  test('we listen on a port, for its older -netdev socket', limit, async () => {
    const port = await freePort();
    const answer = gatewayBehind({ kind: 'stream', server: true, host: '127.0.0.1', port });
    const peer = qemu(`socket,id=s,connect=127.0.0.1:${port}`);
    assert.equal(await answer, '52:55:0a:00:02:02');
    await peer.end();
  });
});

test('path failures between two macvtap devices', { ...requires('root', 'macvtap'), timeout: 170_000 }, async () => {
  const program = new URL('../../bench/network-paths.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [program, '--short', '--outcome'], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.on('data', (bytes: Buffer) => {
    said += bytes.toString();
  });
  const [code] = (await once(child, 'close')) as [number | null];
  assert.equal(code, 0, said);
});
