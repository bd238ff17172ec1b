/** The door of the demo page's server. */
export { type DemoOptions, type DemoServer, demoPort, startDemo } from './server.ts';
