/** The guest agent's protocol, host side: a session over any port that carries bytes. */
export { Execution } from './execution.ts';
export {
  encodeRequest,
  limits,
  ProtocolError,
  protocolVersion,
  type Reply,
  ReplyReader,
  type Request,
} from './frames.ts';
export { type Command, commandScript, type Word } from './script.ts';
export {
  type AgentClock,
  type AgentInfo,
  type AgentPort,
  AgentSession,
  type AgentSessionOptions,
  type ExecOptions,
  type Result,
} from './session.ts';
