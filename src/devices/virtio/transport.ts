/**
 * What lies between a virtio device and its driver (virtio 1.2, section 4). A transport shows a device's registers
 * and carries its interrupts; the device does not know which one it has, and there is one for each instance on each
 * thread.
 *
 *     driver -> transport: registers -> VirtioDevice: status, features, queues, configuration
 *     driver <- transport: interrupt <- VirtioDevice: configuration changed, queue n used
 */

/** The device's side of a transport: what it tells the driver. On any thread, with the device's lock. */
export interface VirtioTransport {
  /** Reserved feature bits (section 6) that this transport can keep. */
  readonly features: readonly number[];
  /** A configuration change notification (section 2.3, 2.5). */
  configChanged(): void;
  /** A used buffer notification (section 2.3). */
  queueUsed(index: number): void;
  /** A queue is as after a reset. */
  queueReset(index: number): void;
  /** The driver or the machine has reset the device: nothing is pending. */
  deviceReset(): void;
  /** Drives the outputs again, after a restore. */
  drive(): void;
}
