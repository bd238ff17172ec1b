/** What a handler gets and gives, by its route. */
import type * as z from 'zod';
import type { Operation, Route, routes } from './routes.ts';

type Parsed<R, Part extends 'parameters' | 'query' | 'body'> = R extends {
  readonly [K in Part]: infer S extends z.ZodType;
}
  ? z.output<S>
  : Record<never, never>;

type Body<R> = R extends { readonly bodyIsOptional: true } ? Partial<Parsed<R, 'body'>> : Parsed<R, 'body'>;

export interface Call<O extends Operation> {
  readonly parameters: Parsed<(typeof routes)[O], 'parameters'>;
  readonly query: Parsed<(typeof routes)[O], 'query'>;
  readonly body: Body<(typeof routes)[O]>;
  /** Aborts when the caller leaves. */
  readonly signal: AbortSignal;
  header(name: string): string | undefined;
}

/** Reports of machines are read-only. */
type ReadOnly<T> = T extends readonly (infer I)[]
  ? readonly ReadOnly<I>[]
  : T extends object
    ? { readonly [K in keyof T]: ReadOnly<T[K]> }
    : T;

type Result<R> = R extends { readonly result: infer S extends z.ZodType } ? ReadOnly<z.output<S>> : undefined;

export type Answer<R> = R extends { readonly answers: 'socket' }
  ? never
  : R extends { readonly answers: 'events' }
    ? AsyncIterable<Result<R>>
    : R extends { readonly answers: 'text' | 'bytes' }
      ? AsyncIterable<Uint8Array> | string
      : R extends { readonly status: 204 }
        ? undefined
        : Result<R>;

/** Sockets are not answered by handlers (sockets.ts). */
export type SocketOperation = {
  [O in Operation]: (typeof routes)[O] extends { readonly answers: 'socket' } ? O : never;
}[Operation];

export type Handlers = {
  readonly [O in Exclude<Operation, SocketOperation>]: (call: Call<O>) => Promise<Answer<(typeof routes)[O]>>;
};

export type AnyHandler = (call: {
  readonly parameters: object;
  readonly query: object;
  readonly body: object;
  readonly signal: AbortSignal;
  header(name: string): string | undefined;
}) => Promise<unknown>;

export type { Route };
