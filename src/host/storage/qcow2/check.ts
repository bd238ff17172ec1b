/**
 * Whether an image's refcounts are what its tables refer to, as `qemu-img check` looks at it: a count that is too high is a
 * leak, one that is too low lets somebody's cluster be given to another.
 */
import { OperatorError } from '../../../base/errors.ts';
import { clusterAt, isCopied, placeAt } from './entries.ts';
import type { Qcow2Header } from './header.ts';
import type { ImageFile } from './image-file.ts';
import type { Metadata } from './metadata.ts';
import { readSnapshots } from './snapshots.ts';

/** 4 bytes of memory for each. */
const CLUSTERS_MOST = 1 << 26;
/** Of a hostile image there may be any number. */
const PROBLEMS_MOST = 100;

export interface Counted {
  /** By cluster of the file: how often tables refer to it. */
  readonly references: Uint32Array;
  /** Places that cannot be. */
  readonly problems: readonly string[];
}

export interface Checked {
  /** Clusters with a refcount that is too high. */
  readonly leaks: number;
  /** What is wrong otherwise, a sentence each, some of them where they are many. */
  readonly problems: readonly string[];
}

/** Goes through all tables; the image is not changed meanwhile. */
export async function countReferences(path: string, metadata: Metadata, image: ImageFile): Promise<Counted> {
  const count = new Count(path, metadata, image);
  await count.all();
  return count;
}

/** Compares what is counted with the refcounts. What is changed and not yet flushed counts as if it were not. */
export async function checkImage(path: string, metadata: Metadata, image: ImageFile): Promise<Checked> {
  const { refcounts } = metadata;
  const counted = await countReferences(path, metadata, image);
  const problems = [...counted.problems];
  let leaks = 0;
  for (const [cluster, references] of counted.references.entries()) {
    const pinned = await refcounts.pinFor([cluster]);
    const refcount = refcounts.countOf(cluster);
    refcounts.unpin(pinned);
    if (refcount > references) leaks++;
    else if (refcount < references && problems.length < PROBLEMS_MOST)
      problems.push(`cluster ${cluster} has refcount ${refcount} and ${references} references`);
  }
  problems.push(...(await wrongFlags(metadata, image)));
  return { leaks, problems };
}

class Count implements Counted {
  readonly references: Uint32Array;
  readonly problems: string[] = [];
  readonly #path: string;
  readonly #metadata: Metadata;
  readonly #image: ImageFile;
  readonly #header: Qcow2Header;

  constructor(path: string, metadata: Metadata, image: ImageFile) {
    this.#path = path;
    this.#metadata = metadata;
    this.#image = image;
    this.#header = metadata.header;
    const clusters = Math.ceil(image.sizeBytes / this.#header.clusterBytes);
    if (clusters > CLUSTERS_MOST) {
      const message = `${path} has ${clusters} clusters, too many to look at here`;
      throw new OperatorError('disk-too-large', message, 'Look at it with `qemu-img check`.');
    }
    this.references = new Uint32Array(clusters);
  }

  async all(): Promise<void> {
    const { header, refcounts, l1 } = this.#metadata;
    this.#add(0, header.clusterBytes, 'the header');
    this.#add(header.l1At, header.l1Entries * 8, 'the L1 table');
    this.#add(header.refcountTableAt, refcounts.table.length, 'the refcount table');
    for (let index = 0; index * 8 < refcounts.table.length; index++) {
      const at = refcounts.blockPlace(index);
      if (at !== 0) this.#add(at, header.clusterBytes, 'a refcount block');
    }
    await this.#addTables(l1);
    if (header.snapshots === 0) return;
    const { tables, sizeBytes } = await readSnapshots(this.#path, header, this.#image);
    this.#add(header.snapshotsAt, sizeBytes, "the snapshots' table");
    for (const { l1At, l1Entries } of tables) {
      this.#add(l1At, l1Entries * 8, "a snapshot's L1 table");
      await this.#addTables(await readTable(this.#image, l1At, l1Entries * 8));
    }
  }

  async #addTables(l1: DataView): Promise<void> {
    const { clusterBytes, version, clusterBits } = this.#header;
    for (let slot = 0; slot * 8 < l1.byteLength; slot++) {
      const at = placeAt(l1, slot);
      if (at === 0) continue;
      if (!this.#add(at, clusterBytes, 'an L2 table')) continue;
      // Once for the disk, once for each snapshot; a hostile image would have us read it millions of times.
      if ((this.references[at / clusterBytes] ?? 0) > 1 + this.#header.snapshots) {
        this.#problem(`an L2 table at ${at}, for several parts of the disk`);
        continue;
      }
      const table = await readTable(this.#image, at, clusterBytes);
      for (let i = 0; i < clusterBytes / 8; i++) {
        const cluster = clusterAt(table, i, version, clusterBits);
        if (cluster.kind === 'unallocated' || cluster.at === 0) continue;
        if (cluster.kind !== 'compressed') this.#add(cluster.at, clusterBytes, 'a cluster');
        else for (const place of this.#metadata.referencesOf(cluster)) this.#addCluster(place, 'a compressed cluster');
      }
    }
  }

  #add(at: number, sizeBytes: number, what: string): boolean {
    const { clusterBytes } = this.#header;
    if (at % clusterBytes !== 0) {
      this.#problem(`${what} at ${at}, in the middle of a cluster`);
      return false;
    }
    let isThere = true;
    for (let done = 0; done < sizeBytes && isThere; done += clusterBytes)
      isThere = this.#addCluster((at + done) / clusterBytes, what);
    return isThere;
  }

  #addCluster(cluster: number, what: string): boolean {
    if (cluster >= this.references.length) {
      this.#problem(`${what} in cluster ${cluster}, behind the end of the file`);
      return false;
    }
    this.references[cluster] = (this.references[cluster] ?? 0) + 1;
    return true;
  }

  #problem(text: string): void {
    if (this.problems.length < PROBLEMS_MOST) this.problems.push(text);
  }
}

/** Entries of the active tables whose flag does not say what the refcount says. */
async function wrongFlags(metadata: Metadata, image: ImageFile): Promise<string[]> {
  const { header, l1, refcounts } = metadata;
  const problems: string[] = [];
  const compare = async (table: DataView, slot: number, at: number, what: string): Promise<void> => {
    const cluster = Math.floor(at / header.clusterBytes);
    const pinned = await refcounts.pinFor([cluster]);
    const isAlone = refcounts.countOf(cluster) === 1;
    refcounts.unpin(pinned);
    if (isAlone !== isCopied(table, slot) && problems.length < PROBLEMS_MOST)
      problems.push(`${what} in cluster ${cluster} has the wrong flag for its refcount`);
  };
  for (let slot = 0; slot * 8 < l1.byteLength; slot++) {
    const at = placeAt(l1, slot);
    if (at === 0 || at >= image.sizeBytes) continue;
    await compare(l1, slot, at, 'an L2 table');
    const table = await readTable(image, at, header.clusterBytes);
    for (let i = 0; i < header.clusterBytes / 8; i++) {
      const cluster = clusterAt(table, i, header.version, header.clusterBits);
      if (cluster.kind !== 'unallocated' && cluster.kind !== 'compressed' && cluster.at !== 0)
        await compare(table, i, cluster.at, 'a cluster');
    }
  }
  return problems;
}

async function readTable(image: ImageFile, at: number, sizeBytes: number): Promise<DataView> {
  const bytes = new Uint8Array(sizeBytes);
  await image.read(at, [bytes]);
  return new DataView(bytes.buffer);
}
