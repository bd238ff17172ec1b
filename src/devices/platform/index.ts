/** The platform devices of the `virt` machine: everything that is neither a processor nor behind virtio or PCIe. */
export { Aclint, type LocalInterrupts, NEVER } from './aclint.ts';
export { APLIC_SOURCES, Aplic, type AplicOptions, type AplicOutputs } from './aplic.ts';
export { GENERATION_BYTES, GenerationId } from './generation-id.ts';
export { Imsic, type ImsicOptions, type Message } from './imsic.ts';
export type { MsiAddresses } from './msi-address.ts';
export { type ExternalInterrupts, PLIC_SOURCES, Plic } from './plic.ts';
export { Rtc, type RtcPorts } from './rtc.ts';
export { FINISH, type Finish, type FinishPort, TestFinisher } from './test-finisher.ts';
export { Uart } from './uart.ts';
