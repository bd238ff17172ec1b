/** The door of snapshots: taking one of a machine that runs, and what is read of one to make the machine again. */

export { bootSnapshotPath, isFileAtFault, keepBootSnapshot, prepareFolder, whyItBoots } from './boot-snapshots.ts';
export { holdAtOnce, holdStill } from './hold-still.ts';
export { SavedMachine } from './saved-machine.ts';
export { inspectSnapshot, type SnapshotInfo } from './snapshot-info.ts';
export { type SnapshotSubject, takeSnapshot } from './take-snapshot.ts';
