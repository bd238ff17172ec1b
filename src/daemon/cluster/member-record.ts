/**
 * Whose a host's name is: `members/NAME`, written when a host joins and deleted when it leaves. A host that was fenced keeps its
 * name, so that no other takes it and both push each other out.
 */
import { randomUUID } from 'node:crypto';
import { OperatorError } from '../../base/errors.ts';
import {
  find,
  HOST,
  keyOf,
  LEASE,
  put,
  type RecordKind,
  type StoreEntry,
  type Transaction,
} from '../../cluster/index.ts';

export interface MemberRecord {
  /** Of this membership, as in the host's own configuration. */
  readonly id: string;
  readonly since: string;
}

export const MEMBER: RecordKind<MemberRecord> = { prefix: 'members/', shape: { id: 'text', since: 'text' } };

export function newMember(): MemberRecord {
  return { id: randomUUID(), since: new Date().toISOString() };
}

export function memberKeys(name: string): string[] {
  return [keyOf(MEMBER, name), keyOf(HOST, name), keyOf(LEASE, name)];
}

/**
 * Takes the name. Undefined: it is ours already. `replace`: from a host that is gone for good. Errors: `name-in-use`, `host-alive`.
 */
export function takeName(
  entries: readonly StoreEntry[],
  name: string,
  member: MemberRecord,
  replace: boolean,
): Pick<Transaction, 'compares' | 'puts'> | undefined {
  const found = find(entries, MEMBER, name);
  if (found.value?.id === member.id) return undefined;
  const isHeld = find(entries, LEASE, name).value?.state === 'held';
  if (found.value !== undefined && !replace)
    throw new OperatorError(
      'name-in-use',
      `the cluster has a host ${name} already`,
      'Choose another name with --name; if that host is gone for good, and this one shall be it, add --replace',
    );
  if (found.value !== undefined && isHeld)
    throw new OperatorError(
      'host-alive',
      `the host ${name} holds its lease: it runs, or nobody has seen yet that it does not`,
      'Have it leave, or end it, and wait until "kage cluster status" shows it as fenced',
    );
  return { compares: [{ key: keyOf(MEMBER, name), revision: found.revision }], puts: [put(MEMBER, name, member)] };
}
