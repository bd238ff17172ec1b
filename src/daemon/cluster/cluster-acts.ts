/** How a host comes into a cluster: it begins one in an empty store, or joins the one of a token. What fails leaves nothing behind. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, mkdirSync } from 'node:fs';
import { createServer, isIPv6 } from 'node:net';
import { dirname, join } from 'node:path';
import { OperatorError } from '../../base/errors.ts';
import { find, keyOf, put } from '../../cluster/index.ts';
import type { Certified } from '../../host/index.ts';
import type { InitRequest, JoinRequest } from '../schemas/cluster.ts';
import { AUTHORITY, certify, fingerprintOf, newAuthority, seal, unseal, writeCertificates } from './certificates.ts';
import {
  addressText,
  type ClusterConfig,
  clusterFolder,
  defaultName,
  type HostAddress,
  newSecret,
  parseHostAddress,
  parseToken,
  type StorePlace,
  writeConfig,
} from './cluster-config.ts';
import { type MemberRecord, memberKeys, newMember, takeName } from './member-record.ts';
import { openStore, placeText, readStore, transact } from './store-access.ts';

const LOOPBACK = '127.0.0.1';

/** Errors: `bad-address`, `address-in-use`, `bad-store`, `store-unreachable`, `cluster-exists`. */
export async function initCluster(stateFolder: string, request: InitRequest): Promise<ClusterConfig> {
  const own: StorePlace = { kind: 'sqlite', file: join(clusterFolder(stateFolder), 'store.db') };
  const { store: place = own, address: given = LOOPBACK } = request;
  const address = await freeAddress(given);
  if (place.kind === 'sqlite') mkdirSync(dirname(place.file), { recursive: true, mode: 0o700 });
  const [secret, authority, member] = [newSecret(), newAuthority(), newMember()];
  const config = configOf(request, { address, place, secret, authority: fingerprintOf(authority.cert), member });
  const store = openStore(place, request.storeTls);
  try {
    await transact(store, { keys: [keyOf(AUTHORITY), ...memberKeys(config.name)] }, (entries) => {
      const present = find(entries, AUTHORITY);
      if (present.value?.cert === authority.cert) return undefined;
      if (present.revision > 0)
        throw new OperatorError(
          'cluster-exists',
          `there is a cluster in ${placeText(place)} already`,
          'Join it with "kage cluster join TOKEN"; its hosts print the token with "kage cluster token"',
        );
      const named = takeName(entries, config.name, member, false);
      return {
        compares: [{ key: keyOf(AUTHORITY), revision: 0 }, ...(named?.compares ?? [])],
        puts: [put(AUTHORITY, '', seal(authority, secret)), ...(named?.puts ?? [])],
      };
    });
  } finally {
    store.close();
  }
  keep(stateFolder, config, authority, address);
  return config;
}

/** Errors: `bad-join-token`, `no-store`, `foreign-authority`, `wrong-secret`, `name-in-use`, `host-alive`, and those of init. */
export async function joinCluster(stateFolder: string, request: JoinRequest): Promise<ClusterConfig> {
  const { secret, store: place, authority: fingerprint } = parseToken(request.token);
  if (request.address === undefined && place.kind !== 'sqlite')
    throw new OperatorError(
      'bad-address',
      'other hosts must know where this one is',
      'Say which of its addresses they reach, with --address 10.0.0.2',
    );
  if (place.kind === 'sqlite' && !existsSync(place.file))
    throw new OperatorError(
      'no-store',
      `the cluster's store is the file ${place.file}, which is not on this host`,
      'A cluster of several hosts wants etcd: begin it with "kage cluster init --store etcd:http://HOST:2379,..."',
    );
  const address = await freeAddress(request.address ?? LOOPBACK);
  const member = newMember();
  const config = configOf(request, { address, place, secret, authority: fingerprint, member });
  const store = openStore(place, request.storeTls);
  let authority: Certified;
  try {
    const record = find(await readStore(store, { keys: [keyOf(AUTHORITY)] }), AUTHORITY).value;
    if (record === undefined) throw noClusterThere();
    authority = unseal(record, secret, fingerprint);
    await transact(store, { keys: memberKeys(config.name) }, (entries) =>
      takeName(entries, config.name, member, request.replace ?? false),
    );
  } finally {
    store.close();
  }
  keep(stateFolder, config, authority, address);
  return config;
}

export function noClusterThere(): OperatorError {
  return new OperatorError(
    'foreign-authority',
    'there is no cluster in that store, or not any more',
    'Name the store of the cluster, or begin one there with "kage cluster init"',
  );
}

interface Found {
  readonly address: HostAddress;
  readonly place: StorePlace;
  readonly secret: string;
  readonly authority: string;
  readonly member: MemberRecord;
}

function configOf(
  { name = defaultName(), storeTls, capacity = {}, labels = {} }: InitRequest,
  { address, place, secret, authority, member }: Found,
): ClusterConfig {
  return {
    ...{ format: 1, name, id: member.id, address: addressText(address), store: place, secret, authority },
    ...(storeTls === undefined ? {} : { storeTls }),
    ...{ capacity, labels },
  };
}

/** The configuration last: with it this host is in. */
function keep(stateFolder: string, config: ClusterConfig, authority: Certified, { host }: HostAddress): void {
  writeCertificates(clusterFolder(stateFolder), certify(authority, config.name, [host]));
  writeConfig(stateFolder, config);
}

/** That this host can listen there is found out before anything is written. */
async function freeAddress(given: string): Promise<HostAddress> {
  const address = parseHostAddress(given);
  const { host, port } = address;
  const server = createServer();
  const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
  try {
    server.listen(port, host);
    await once(server, 'listening');
    socket.bind(port, host);
    await once(socket, 'listening');
    return address;
  } catch (cause) {
    const { code = '' } = cause as NodeJS.ErrnoException;
    const isTaken = code === 'EADDRINUSE';
    throw new OperatorError(
      isTaken ? 'address-in-use' : 'bad-address',
      isTaken ? `port ${port} of ${host} is in use` : `${host} port ${port} cannot be listened on (${code})`,
      isTaken ? 'Name another port: --address HOST:PORT' : "Name an address that is this host's own",
      { cause },
    );
  } finally {
    server.close();
    socket.close();
  }
}
