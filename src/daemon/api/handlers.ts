/** What each route does: asks the partitions, or a machine over its control socket. */
import { OperatorError } from '../../base/errors.ts';
import { isPulled, pulledNames, type RemoteMachine } from '../../host/index.ts';
import type { ClusterDoor } from '../cluster/index.ts';
import { noDaemon } from '../cluster/index.ts';
import { pushed } from '../partitions/index.ts';
import type { Handlers } from './calls.ts';
import { eventsSince, partitionEvents } from './event-feed.ts';
import { runCommand } from './exec.ts';
import { imageView } from './image-view.ts';
import { metricsText } from './metrics.ts';
import { openApiDocument } from './openapi.ts';
import { RequestError } from './problem-of.ts';
import type { Service } from './service.ts';

export function handlersOf(service: Service): Handlers {
  const { partitions, operated, images } = service;
  const { store } = partitions;
  /** One conversation with the machine, for one question or two. */
  const asking = async <T>(name: string, ask: (machine: RemoteMachine) => Promise<T>): Promise<T> => {
    await using machine = await operated.reach(name);
    return await ask(machine);
  };
  const cluster = (): ClusterDoor => {
    if (service.cluster === undefined) throw noDaemon();
    return service.cluster;
  };
  return {
    listPartitions: async () => ({ partitions: await operated.list() }),
    createPartition: async ({ body }) => await operated.create(body),
    getPartition: async ({ parameters: { name } }) => await operated.inspect(name),
    declarePartition: async ({ parameters: { name }, body }) => await operated.declare(name, body),
    updatePartition: async ({ parameters: { name }, body }) => await operated.update(name, body.restartPolicy),
    removePartition: async ({ parameters: { name }, query }) => {
      await operated.remove(name, query);
      return undefined;
    },
    startPartition: async ({ parameters: { name }, signal }) => await operated.start(name, signal),
    stopPartition: async ({ parameters: { name }, body }) => await operated.stop(name, body),
    restartPartition: async ({ parameters: { name }, body }) => await operated.restart(name, body),
    killPartition: async ({ parameters: { name } }) => await operated.kill(name),
    pausePartition: async ({ parameters: { name } }) => await operated.pause(name),
    resumePartition: async ({ parameters: { name } }) => await operated.resume(name),
    waitPartition: async ({ parameters: { name } }) => await operated.wait(name),
    snapshotPartition: async ({ parameters: { name }, body: { file, ...options } }) =>
      await asking(name, async (machine) => {
        const result = await machine.snapshot(file, options);
        store.add('snapshot', name, { file });
        return result;
      }),
    forkPartition: async ({ parameters: { name }, body }) =>
      await asking(name, async (machine) => {
        const twin = await machine.fork(body);
        store.add('forked', name, { twin: twin.name });
        return twin;
      }),
    partitionEvents: async ({ parameters: { name }, header, signal }) => {
      await operated.inspect(name);
      return partitionEvents(partitions, name, lastEvent(header), signal);
    },

    partitionLogs: async ({ parameters: { name }, query, signal }) => await operated.logs(name, query, signal),
    exec: async ({ parameters: { name }, body, signal }) =>
      await asking(name, (machine) => runCommand(machine, body, signal)),
    waitReady: async ({ parameters: { name } }) => {
      await asking(name, (machine) => machine.ready());
      return undefined;
    },

    getStats: async ({ parameters: { name } }) => await asking(name, (machine) => machine.stats()),
    getSwitches: async ({ parameters: { name } }) => await asking(name, switchesOf),
    setSwitches: async ({ parameters: { name }, body: { pathFailover, ...own } }) =>
      await asking(name, async (machine) => {
        await machine.setSwitches(own);
        if (pathFailover !== undefined) await machine.changeNet({ action: 'failover', on: pathFailover });
        store.add('switched', name, { ...own, ...(pathFailover === undefined ? {} : { pathFailover }) });
        return await switchesOf(machine);
      }),
    getNet: async ({ parameters: { name } }) => await asking(name, (machine) => machine.net()),
    changeNet: async ({ parameters: { name }, body }) =>
      await asking(name, async (machine) => {
        await machine.changeNet(body);
        return await machine.net();
      }),
    netEvents: async ({ parameters: { name }, query }) =>
      await asking(name, async (machine) => ({ events: await machine.netEvents(query.since) })),
    captureNet: async ({ parameters: { name }, query, signal }) => {
      const machine = await operated.reach(name);
      return pushed(machine, (take, end) => machine.capture(query, take, end), signal);
    },
    getProtection: async ({ parameters: { name } }) => await asking(name, (machine) => machine.protection()),
    protect: async ({ parameters: { name }, body }) =>
      await asking(name, async (machine) => {
        await machine.protect(body);
        return await machine.protection();
      }),
    getViolations: async ({ parameters: { name }, query }) =>
      await asking(name, async (machine) => ({ violations: await machine.violations(query.most) })),
    getBalloon: async ({ parameters: { name } }) => await asking(name, (machine) => machine.balloon()),
    setBalloon: async ({ parameters: { name }, body }) =>
      await asking(name, async (machine) => {
        await machine.setBalloon(body.memoryBytes);
        return await machine.balloon();
      }),
    getPci: async ({ parameters: { name } }) => await asking(name, (machine) => machine.pci()),
    changeSlot: async ({ parameters: { name, port }, body }) =>
      await asking(name, async (machine) => {
        await machine.changeSlot(port, body.action);
        return await machine.pci();
      }),
    getHotRegions: async ({ parameters: { name }, query }) =>
      await asking(name, async (machine) => ({ regions: await machine.hotRegions(query.most) })),
    getPromotedSites: async ({ parameters: { name }, query }) =>
      await asking(name, async (machine) => ({ sites: await machine.promotedSites(query.most) })),
    explain: async ({ parameters: { name }, query: { pc, ...where } }) =>
      await asking(name, (machine) => machine.explain({ ...where, ...(pc === undefined ? {} : { pc: BigInt(pc) }) })),

    listImages: async () => ({ images: (await images.list()).map(imageView) }),
    pullImage: async ({ body: { name, refresh = false }, signal }) => {
      if (!isPulled(name)) {
        const fix = `Pull ${pulledNames.join(' or ')}, or build one with "kage images build"`;
        throw new OperatorError('image-not-found', `there is no image ${name} to pull`, fix);
      }
      const progress = (done: object): void =>
        store.tell({ id: 0, at: new Date().toISOString(), kind: 'image-progress', detail: { image: name, ...done } });
      const image = await images.pull(name, { refresh, signal, progress });
      store.add('image-pulled', undefined, { image: name });
      return imageView(image);
    },
    removeImage: async ({ parameters: { image }, signal }) => {
      if (!(await images.remove(image, { signal })))
        throw new OperatorError(
          'image-not-found',
          `there is no image ${image}`,
          'See "kage images" for those that are',
        );
      store.add('image-removed', undefined, { image });
      return undefined;
    },

    getCluster: async () => await cluster().report(),
    initCluster: async ({ body }) => await cluster().init(body),
    joinCluster: async ({ body }) => await cluster().join(body),
    leaveCluster: async ({ body }) => {
      await cluster().leave(body);
      return undefined;
    },
    getClusterToken: async () => cluster().token(),
    makeCredentials: async ({ body: { names } }) => await cluster().credentials(names),
    drainHost: async ({ parameters: { name }, body: { undo = false } }) => await cluster().drain(name, undo),
    setHeartbeats: async ({ body: { mode } }) => await cluster().setHeartbeats(mode),
    clusterHistory: async ({ signal }) => await cluster().history(signal),
    drill: async ({ body, signal }) => await cluster().drill(body, signal),

    events: async ({ query, header, signal }) =>
      eventsSince(store, { since: lastEvent(header) ?? query.since, partition: query.partition }, signal),
    eventHistory: async ({ query }) => {
      if (query.most !== undefined && query.most > MOST_HISTORY)
        throw new RequestError(
          400,
          'bad-request',
          `query.most: more than ${MOST_HISTORY}`,
          'Ask for fewer, more often',
        );
      return { events: store.events(query) };
    },
    getVersion: async () => {
      const { version, startedAt, stateFolder } = service;
      return { version, api: 'v1', pid: process.pid, startedAt, stateFolder };
    },
    getOpenApi: async () => openApiDocument(service.version),
    getHealth: async () => ({ status: 'ok' }),
    getReadiness: async () => {
      if (service.isReady()) return { status: 'ok' };
      throw new RequestError(503, 'not-ready', 'the daemon is not ready', 'Ask again');
    },
    getMetrics: async () => await metricsText(service),
  };
}

const MOST_HISTORY = 1000;

/** The machine's own, and that of its network, where it has one. */
async function switchesOf(machine: RemoteMachine) {
  const { promotion } = await machine.switches();
  const net = await machine.net().catch(() => undefined);
  return {
    ...(promotion === undefined ? {} : { promotion }),
    ...(net === undefined ? {} : { pathFailover: net.failover }),
  };
}

/** A browser that lost its stream says where it was. */
function lastEvent(header: (name: string) => string | undefined): number | undefined {
  const given = header('last-event-id');
  return given !== undefined && /^\d{1,15}$/.test(given) ? Number(given) : undefined;
}
