/** The user-mode network as an uplink: a network of the host's sockets, which has a carrier as long as this process lives. */
import type { NetdevOptions, NetworkOptions, UplinkPort, UserNetwork } from '../../../network/index.ts';
import { type RunningNetwork, startUserNetwork } from '../index.ts';
import type { OpenedLink } from './link.ts';

export interface UserLink extends OpenedLink {
  readonly network: UserNetwork;
  readonly published: RunningNetwork['published'];
}

/** Rejects as `startUserNetwork` does. */
export async function openUserLink({ mtuBytes }: NetdevOptions, config: NetworkOptions): Promise<UserLink> {
  let uplink: UplinkPort | undefined;
  const options = mtuBytes === undefined ? config : { ...config, mtu: mtuBytes };
  const { network, published, close } = await startUserNetwork(
    options,
    // Nobody is mapped to it yet, or any more: the frame comes again.
    (frame, offload) => uplink?.receive(frame, offload) ?? false,
  );
  return {
    network,
    published,
    // It takes whatever a guest sends, and asks nobody whether it is there.
    facts: { mtuBytes: 65_535, offloads: true, carrier: true, probing: 'none' },
    link: {
      send: (frame, offload) => {
        network.receive(frame, offload);
        return true;
      },
      room: () => network.setGuestReady(true),
      setGuestOffload: (offload) => network.setGuestOffload(offload),
    },
    join: (port) => {
      uplink = port;
    },
    close: () => {
      uplink = undefined;
      close();
    },
  };
}
