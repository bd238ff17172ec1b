/** The door of streams: between processes of a host, and between hosts, where both ends show who they are. */
export { addressText, isLoopback, parseAddress, type StreamAddress } from './address.ts';
export { connectStream } from './connect.ts';
export { listenAt, listenForStreams, type StreamListener } from './listen.ts';
export { Newcomers } from './newcomers.ts';
export { HANDSHAKE_MS, peerCertificates, secureAsServer } from './tls.ts';
export { isAlive, isLeftBehind } from './unix-sockets.ts';
