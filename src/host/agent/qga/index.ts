/** QEMU's guest agent, the host's side. */
export { QemuAgent, type QemuAgentOptions } from './qemu-agent.ts';
