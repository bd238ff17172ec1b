/** Counters of uplinks, of mappings and of the switch, as plain numbers. */
export interface TrafficCounters {
  framesOut: number;
  bytesOut: number;
  framesIn: number;
  bytesIn: number;
}

/** Out: to the segment; in: from it. */
export interface UplinkCounters extends TrafficCounters {
  /** Frames for the segment that the link had no room for, that were too long for it, or were not what they said. */
  droppedOut: number;
  /** Broken frames, and those of a storm. */
  droppedIn: number;
  stormsIn: number;
  /** Our own frames that came back, and frames that another uplink had brought already. */
  reflected: number;
  duplicates: number;
  /** Frames for an interface that is mapped to another uplink now. */
  notInForce: number;
  /** Times that it was lost: carrier, or silently. */
  failures: number;
}

/** Out: from the guest; in: to it. */
export interface MappingCounters extends TrafficCounters {
  /** Of the frames in and out, those that stayed in this switch. */
  localIn: number;
  localOut: number;
  /** Frames of the guest's that nobody carries: broken, with a source that is not its own, while no path is there. */
  droppedOut: number;
  stormsOut: number;
  noPath: number;
  /** Frames that the guest had no room for. */
  droppedIn: number;
  /** Changes of the uplink in force, and frames that told the segment of them. */
  switches: number;
  announcements: number;
}

export function newUplinkCounters(): UplinkCounters {
  const traffic = { framesOut: 0, bytesOut: 0, framesIn: 0, bytesIn: 0 };
  const lost = { droppedOut: 0, droppedIn: 0, stormsIn: 0, reflected: 0, duplicates: 0, notInForce: 0 };
  return { ...traffic, ...lost, failures: 0 };
}

export function newMappingCounters(): MappingCounters {
  const traffic = { framesOut: 0, bytesOut: 0, framesIn: 0, bytesIn: 0, localIn: 0, localOut: 0 };
  const lost = { droppedOut: 0, stormsOut: 0, noPath: 0, droppedIn: 0 };
  return { ...traffic, ...lost, switches: 0, announcements: 0 };
}
