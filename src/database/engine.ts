import type { PGlite } from "@electric-sql/pglite";
import { Assembler, message } from "./wire.ts";

/** The state of the session after some messages were answered. */
export interface Outcome {
  /** Whether the session sent ReadyForQuery. */
  ready: boolean;
  inTransaction: boolean;
  /** `statement_timeout` of the open transaction, if it was requested. */
  limit: string | undefined;
}

export interface Run {
  bytes: Uint8Array;
  /** Whether the outcome must contain the statement timeout of the transaction. */
  askLimit?: boolean | undefined;
}

/** The one session of an embedded database. One call at a time. */
export interface Engine {
  /** Increases whenever the database was opened again; session state is lost then. */
  readonly generation: number;
  /** Lets the session answer messages of the wire protocol. Each reply consists of whole messages. */
  run(work: Run, reply?: (data: Buffer) => void): Promise<Outcome>;
  /** One statement with values, or a script without values. */
  query<T extends object>(sql: string, values?: unknown[]): Promise<T[]>;
  /** Cancels the running call by ending the engine, and opens the database again. The call fails with `EngineEnded`. */
  interrupt?(): Promise<void>;
}

/** The engine has ended in the middle of a statement, through an error or because it was terminated. */
export class EngineEnded extends Error {}

/** A database in the same thread, which cannot be interrupted. */
export class LocalEngine implements Engine {
  readonly generation = 0;
  readonly #database: PGlite;
  #failure: EngineEnded | undefined;

  constructor(database: PGlite) {
    this.#database = database;
  }

  async run({ bytes, askLimit = false }: Run, reply: (data: Buffer) => void = () => {}): Promise<Outcome> {
    if (this.#failure !== undefined) throw this.#failure;
    // The chunks are views of the database's own memory, split at arbitrary positions.
    const assembler = new Assembler();
    const onRawData = (piece: Uint8Array): void => {
      const messages = assembler.push(piece);
      if (messages !== undefined) reply(messages);
    };
    try {
      await this.#database.runExclusive(() => this.#database.execProtocolRawStream(bytes, { onRawData }));
    } catch (error) {
      this.#failure = new EngineEnded("the embedded database has failed and must be restarted", { cause: error });
      throw this.#failure;
    }
    const inTransaction = this.#database.isInTransaction();
    const ready = assembler.last === message.readyForQuery;
    return { ready, inTransaction, limit: askLimit && inTransaction ? await this.#limit() : undefined };
  }

  async #limit(): Promise<string | undefined> {
    try {
      const [row] = await this.query<{ value: string }>(
        "select pg_catalog.current_setting('statement_timeout') as value",
      );
      return row?.value;
    } catch {
      // The transaction has failed.
      return undefined;
    }
  }

  async query<T extends object>(sql: string, values?: unknown[]): Promise<T[]> {
    if (values === undefined) return ((await this.#database.exec(sql)).at(-1)?.rows ?? []) as T[];
    return (await this.#database.query<T>(sql, values)).rows;
  }
}
