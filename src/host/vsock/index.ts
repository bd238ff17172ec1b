/** The door of the guest's sockets on the host: unix sockets, as Firecracker has them. */
export { type VsockDoor, VsockSockets } from './vsock-sockets.ts';
