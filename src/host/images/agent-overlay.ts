/**
 * Brings the agent into an initramfs of somebody else: a cpio archive to append to it, and the words for the
 * kernel's command line that start it. Linux unpacks concatenated archives one after the other, compressed or not;
 * a compressed archive must end on a multiple of four bytes, or the kernel does not see what comes behind.
 */
import { cpio } from './cpio.ts';
import { guestProgram } from './initramfs.ts';

/** Append to the command line with the overlay: starts the agent, then the initramfs's own /init. */
export const agentOverlayWords = 'rdinit=/kagemusha/init';

/** The archive: /kagemusha/init, /kagemusha/agent, and what mounts shared folders. */
export async function agentOverlay(): Promise<Uint8Array<ArrayBuffer>> {
  return cpio([
    { kind: 'folder', path: 'kagemusha', mode: 0o755 },
    await guestProgram('kagemusha/init', 'init/with-agent'),
    await guestProgram('kagemusha/agent', 'agent/agent'),
    await guestProgram('kagemusha/mount-shares', 'init/mount-shares'),
  ]);
}

/** An initramfs with the overlay behind it. An empty one gives a guest that has nothing but the agent's files. */
export async function withAgentOverlay(initrd: Uint8Array): Promise<Uint8Array> {
  const overlay = await agentOverlay();
  const start = Math.ceil(initrd.length / 4) * 4;
  const bytes = new Uint8Array(start + overlay.length);
  bytes.set(initrd);
  bytes.set(overlay, start);
  return bytes;
}
