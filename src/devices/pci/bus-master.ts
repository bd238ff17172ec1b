/**
 * Guest memory behind Bus Master Enable (PCI Express Base 6.0, section 7.5.1.1.3): while a function may not be a master,
 * every access of its device fails as one to an address where nothing is.
 */
import type { GuestMemory } from '../device.ts';

/** `refused` is called for each access that was not allowed. */
export function busMasterMemory(behind: GuestMemory, isMaster: () => boolean, refused: () => void): GuestMemory {
  const allowed = (): boolean => {
    if (isMaster()) return true;
    refused();
    return false;
  };
  return {
    read: (gpa, into) => allowed() && behind.read(gpa, into),
    write: (gpa, from) => allowed() && behind.write(gpa, from),
    spans: (gpa, sizeBytes, access) => (allowed() ? behind.spans(gpa, sizeBytes, access) : null),
  };
}
