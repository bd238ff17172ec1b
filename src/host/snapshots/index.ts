/** The door of snapshots: taking one of a machine that runs, and what is read of one to make the machine again. */

export { bootSnapshotPath, isFileAtFault, keepBootSnapshot, prepareFolder, whyItBoots } from './boot-snapshots.ts';
export { codecs, packed } from './codecs.ts';
export { type SnapshotHead, type SnapshotState, snapshotHead, snapshotState } from './contents.ts';
export { checkDrives, describeDrives } from './disks.ts';
export { holdAtOnce, holdStill } from './hold-still.ts';
export { checkKind, SavedMachine } from './saved-machine.ts';
export { inspectSnapshot, type SnapshotInfo } from './snapshot-info.ts';
export { describeMachine, type SnapshotSubject, stateOf, takeSnapshot } from './take-snapshot.ts';
