/** The door of the store: what is known of partitions over restarts. */
export { STATE_VERSION } from './database.ts';
export { partitionHome, removeHome, stateFolder } from './state-folder.ts';
export { type Definition, Store } from './store.ts';
