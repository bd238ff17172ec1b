/** The door of the browser room: machines in a web page (docs/browser.md). */
export {
  BrowserMachine,
  type BrowserMachineOptions,
  canShareMemory,
  type MachineStats,
} from './browser-machine.ts';
export type { Progress } from './messages.ts';
