/** The door of the typed client: for pages, Node and whatever else has `fetch` and `WebSocket`. */
export type * from './api.ts';
export { Client } from './api.ts';
export { ApiError, apiError } from './api-error.ts';
export {
  type Asked,
  Caller,
  type CallOptions,
  type Socket,
  type Transport,
  type TransportAnswer,
  type TransportRequest,
} from './caller.ts';
export { type FetchTransportOptions, fetchTransport, SOCKET_PROTOCOL, TOKEN_PROTOCOL } from './fetch-transport.ts';
export { MessageQueue } from './message-queue.ts';
