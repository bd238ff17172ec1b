/** The door of the gate: what stands in front of an NBD server and refuses older generations of a disk's users. */

export { type ControlOptions, GateControl, gateControl } from './control.ts';
export { fenceAtGate, type GateCall, gateStatus } from './control-client.ts';
export { gateExportName } from './export-name.ts';
export { type FenceResult, type GateOptions, type GateReport, StorageGate } from './gate.ts';
