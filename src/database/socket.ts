import { randomInt } from "node:crypto";
import { createServer, type Server, type Socket } from "node:net";
import { type Engine, EngineEnded, type Outcome, type Run } from "./engine.ts";
import { cancelled, defaultLimit, milliseconds, timedOut } from "./limit.ts";
import { administrator, type CancelRequest, ordinaryLogin, SignIn } from "./sign-in.ts";
import {
  askForRows,
  type Batch,
  backendKeyData,
  batchEnds,
  closeStatement,
  copyEnds,
  errorResponse,
  Inbox,
  message,
  messagesOf,
  parameterStatus,
  type Refusal,
  Refused,
  readyForQuery,
  simpleQuery,
  startupPacket,
  synchronise,
} from "./wire.ts";

/*
 * PostgreSQL clients connect to the embedded database through this server. The database is one session, so the server
 * behaves like a transaction pooler: a connection owns the session from the first message of a batch until the batch is
 * synchronised and no transaction is open.
 *
 * All of this works around https://github.com/electric-sql/pglite/issues/1046: the server that is part of PGlite
 * (pglite-socket) switches the session between single messages, so that a statement larger than one network packet can
 * lose its parameters to those of another client. This file is obsolete when that server keeps the session for a client
 * until its batch is synchronised; the statement timeout, the logins and the password then need a place of their own.
 */

/** Cancelling a statement blocks all clients while the database is opened again: it gets this time to end by itself. */
const cancelAfter = 1000;
/** Milliseconds that a running statement gets when the server stops. */
const endWithin = 1000;
/** Milliseconds that a client has to sign in. */
const signInLimit = 10_000;

/** A statement that requests rows from the client, alone in its query. */
const copyFromClient = /^(?:\s|--.*\n|\/\*[\s\S]*?\*\/)*copy\b[^;]*\bfrom\s+stdin\b[^;]*;?\s*$/i;
/** The same among other statements. */
const copyAmongOthers = /(?:^|;)\s*copy\b[^;]*\bfrom\s+stdin\b/i;

/**
 * A statement that may change a setting beyond the transaction. A false positive only costs a query of the settings.
 */
const touchesSession =
  /\bset_config\s*\([^;]*\bfalse\b|(?:^|;)\s*(?:set\s+(?!local\b|transaction\b|constraints\b)|reset\b|discard\b)/i;

/** Custom settings, with a dot in their name, which the server does not list. */
const customSetting = /\b(?:set\s+(?:session\s+)?|set_config\s*\(\s*')([a-z_]\w*\.[a-z_]\w*)/gi;

/** A statement that may change the role of the session. */
const touchesAuthorization = /\bauthorization\b|\bsession_authorization\b|\bdiscard\b/i;

interface Setting {
  name: string;
  value: string;
}

interface Connection {
  socket: Socket;
  inbox: Inbox;
  signIn: SignIn;
  /** Whether the startup is complete, so that it may send statements. */
  started: boolean;
  /** Secret key of the connection for cancel requests. */
  process: number;
  secret: number;
  /** Milliseconds that one of its statements may run; the second for the open transaction. */
  limit: number;
  transactionLimit: number | undefined;
  defaultLimit: number;
  /** Names of its prepared statements, which exist in the shared session until they are closed. */
  statements: Set<string>;
  /** The generation of the engine that has them. */
  generation: number;
  /** Whether it may have changed the session's settings since they were last read. */
  touchedSession: boolean;
  customSettings: Set<string>;
  /** Its settings, to be restored after other connections have used the session. */
  settings: Setting[];
  /** Its transaction was lost with an engine: its statements are refused until it rolls back, as in PostgreSQL. */
  lostTransaction: boolean;
  /** A COPY that waits for its rows: the session receives a statement and its rows together. */
  copy: Buffer | undefined;
  /** Whether a batch is being answered. */
  busy: boolean;
  /** Start of the current batch, and the reason if it must be cancelled. */
  began: number | undefined;
  stop: Refusal | undefined;
  /** Ends an open transaction that other connections wait for. */
  idleTimer: NodeJS.Timeout | undefined;
}

const restarted: Refusal = {
  code: "57P01",
  text: "the embedded database was restarted, and what this connection had prepared is lost",
  hint: "Connect again.",
};

class SessionServer {
  readonly #engine: Engine;
  readonly #idleLimit: number;
  readonly #connections = new Set<Connection>();
  readonly #waiting: Connection[] = [];
  #owner: Connection | undefined;
  /** The connection whose settings the session has, if any. */
  #tenant: Connection | undefined;
  #dirty = false;
  /** The role of the session, if it is known. */
  #authorization: string | undefined;
  #inTransaction = false;
  /** The generation of the engine that this state belongs to. */
  #generation: number;
  /** Roles that may sign in. */
  readonly #logins = new Set([administrator]);
  #startupMessages: Buffer[] = [];
  #processes = 0;
  readonly #servers: Server[] = [];

  constructor(engine: Engine, idleLimit: number) {
    this.#engine = engine;
    this.#idleLimit = idleLimit;
    this.#generation = engine.generation;
  }

  #accept(socket: Socket, password: string | undefined): void {
    const connection: Connection = {
      socket,
      inbox: new Inbox(),
      signIn: new SignIn(password),
      started: false,
      process: ++this.#processes,
      secret: randomInt(2 ** 31),
      limit: defaultLimit,
      transactionLimit: undefined,
      defaultLimit,
      statements: new Set(),
      generation: this.#engine.generation,
      touchedSession: false,
      customSettings: new Set(),
      settings: [],
      lostTransaction: false,
      copy: undefined,
      busy: false,
      began: undefined,
      stop: undefined,
      idleTimer: undefined,
    };
    this.#connections.add(connection);
    const late = setTimeout(() => {
      if (!connection.signIn.done) socket.destroy();
    }, signInLimit).unref();
    socket.setNoDelay(true);
    socket.on("data", (chunk) => {
      connection.inbox.push(chunk);
      try {
        this.#signIn(connection);
      } catch (error) {
        this.#end(connection, error);
        return;
      }
      if (connection.signIn.done) this.#want(connection);
    });
    // A reset by the client is followed by "close".
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(late);
      void this.#leave(connection);
    });
  }

  /** Sends a connection the reason why it is closed. */
  #end({ socket }: Connection, error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    const refusal = error instanceof Refused ? error.refusal : { code: "08P01", text };
    // The server closes the connection itself: some clients would not.
    socket.end(errorResponse(refusal), () => socket.destroy());
  }

  /** Messages that need no session: they are answered immediately, also while a long statement runs. */
  #signIn(connection: Connection): void {
    const { socket, inbox, signIn } = connection;
    if (signIn.done) return;
    const cancel = signIn.advance(inbox, (data) => socket.write(data));
    if (cancel !== undefined) {
      this.#cancel(cancel);
      socket.end();
    } else if (signIn.done) {
      connection.defaultLimit = signIn.limit ?? defaultLimit;
      connection.limit = connection.defaultLimit;
      if (this.#logins.has(signIn.user)) this.#answerStartup(connection);
    }
  }

  /** The session's own startup messages, with the values of this connection. */
  #answerStartup(connection: Connection): void {
    const { socket, process, secret } = connection;
    const { user } = connection.signIn;
    const own: Record<string, string> =
      user === administrator ? {} : { session_authorization: user, is_superuser: "off" };
    const parts = this.#startupMessages.map((part) => {
      const name = part[0] === message.parameterStatus ? part.toString("utf8", 5, part.indexOf(0, 5)) : "";
      const value = own[name];
      return value === undefined ? part : parameterStatus(name, value);
    });
    const ready = parts.pop() ?? Buffer.alloc(0);
    socket.write(Buffer.concat([...parts, backendKeyData(process, secret), ready]));
    connection.started = true;
  }

  /** Whether a role may sign in is cached; "role does not exist" is checked again each time. */
  async #admit(connection: Connection): Promise<void> {
    const [role] = await this.#engine.query<{ login: boolean }>(
      "select rolcanlogin as login from pg_catalog.pg_roles where rolname = $1",
      [connection.signIn.user],
    );
    if (role?.login !== true) {
      const name = connection.signIn.user.slice(0, 100);
      throw new Refused({
        code: "28000",
        text: role === undefined ? `role "${name}" does not exist` : `role "${name}" is not permitted to log in`,
        hint: `Sign in as "${ordinaryLogin}"; "insights migrate" makes this role.`,
      });
    }
    this.#logins.add(connection.signIn.user);
    this.#answerStartup(connection);
  }

  /** Queues a connection for the session, or continues with it if it owns the session already. */
  #want(connection: Connection): void {
    if (connection.busy || !this.#connections.has(connection)) return;
    if (this.#owner === connection) {
      void this.#serve(connection);
    } else if (!this.#waiting.includes(connection)) {
      this.#waiting.push(connection);
      this.#next();
    }
  }

  #next(): void {
    while (this.#owner === undefined) {
      const connection = this.#waiting.shift();
      if (connection === undefined) return;
      this.#owner = connection;
      void this.#serve(connection);
    }
  }

  #release(connection: Connection): void {
    if (this.#owner !== connection) return;
    this.#owner = undefined;
    this.#next();
  }

  /** Answers one batch of the connection that owns the session. */
  async #serve(connection: Connection): Promise<void> {
    connection.busy = true;
    clearTimeout(connection.idleTimer);
    let open = false;
    let more = false;
    try {
      if (!connection.started) {
        await this.#admit(connection);
        more = true;
      } else if (this.#connections.has(connection)) {
        const batch = connection.inbox.batch(connection.copy === undefined ? batchEnds : copyEnds);
        if (batch !== undefined) {
          await this.#settle(connection);
          await this.#answer(connection, batch);
          open = batch.last === message.flush;
          more = true;
        }
      }
    } catch (error) {
      this.#end(connection, error);
    } finally {
      connection.busy = false;
      if (!this.#connections.has(connection)) await this.#forget(connection);
      else if (open || this.#inTransaction) this.#watch(connection);
      else this.#release(connection);
      // More messages may have arrived: queued again, behind the other connections.
      if (more) this.#want(connection);
    }
  }

  /** An open transaction blocks all other connections. It may stay open as long as no other connection waits. */
  #watch(connection: Connection): void {
    connection.idleTimer = setTimeout(() => {
      if (this.#waiting.length === 0) this.#watch(connection);
      else {
        this.#end(connection, new Refused({ code: "25P03", text: "a transaction was left open while others waited" }));
      }
    }, this.#idleLimit).unref();
  }

  /** The state of the session is lost with its engine. */
  #meetEngine(): void {
    if (this.#generation === this.#engine.generation) return;
    this.#generation = this.#engine.generation;
    this.#tenant = undefined;
    this.#dirty = false;
    this.#authorization = undefined;
    this.#inTransaction = false;
    // Pools learn immediately, not at their next query, that a connection is unusable.
    for (const connection of this.#connections) {
      if (connection.statements.size > 0 && !connection.busy) this.#end(connection, new Refused(restarted));
    }
  }

  /** Gives the session, outside of a transaction, to a connection: with its role and its settings. */
  async #settle(connection: Connection | undefined): Promise<void> {
    this.#meetEngine();
    if (connection !== undefined && connection.generation !== this.#generation) {
      if (connection.statements.size > 0) throw new Refused(restarted);
      connection.generation = this.#generation;
    }
    if (this.#inTransaction) return;
    if (this.#tenant !== connection && this.#dirty) {
      await this.#engine.query("reset role; reset all");
      this.#dirty = false;
    }
    // Protects against accidents, such as "copy … to program", which ends the engine. It is not a security boundary:
    // the session was started by the superuser, so "set session authorization" can always restore that role.
    if (connection !== undefined && this.#authorization !== connection.signIn.user) {
      this.#authorization = undefined;
      await this.#engine.query(`set session authorization "${connection.signIn.user.replaceAll('"', '""')}"`);
      this.#authorization = connection.signIn.user;
    }
    if (connection !== undefined && this.#tenant !== connection && connection.settings.length > 0) {
      this.#dirty = true;
      await this.#engine.query(
        "select pg_catalog.set_config(name, value, false) from pg_catalog.json_to_recordset($1) as setting (name text, value text)",
        [JSON.stringify(connection.settings)],
      );
    }
    this.#tenant = connection;
    if (connection?.lostTransaction === true) {
      connection.lostTransaction = false;
      await this.#execute({ bytes: simpleQuery("begin") });
      await this.#execute({ bytes: simpleQuery("select 1 / 0") });
    }
  }

  /** Stores the settings of the connection that has the session, if it may have changed them. */
  async #storeSettings(connection: Connection): Promise<void> {
    if (this.#inTransaction || !connection.touchedSession) return;
    connection.touchedSession = false;
    connection.settings = await this.#engine.query<Setting>(
      `select name, pg_catalog.current_setting(name) as value from pg_catalog.pg_settings where source = 'session'
       union all select name, pg_catalog.current_setting(name, true) from pg_catalog.unnest($1::text[]) as custom (name)
       union all select 'role', pg_catalog.current_setting('role')`,
      [[...connection.customSettings]],
    );
    this.#dirty = true;
    const limit = connection.settings.find(({ name }) => name === "statement_timeout")?.value;
    connection.limit = milliseconds(limit ?? "") ?? connection.defaultLimit;
  }

  async #answer(connection: Connection, batch: Batch): Promise<void> {
    const { socket } = connection;
    connection.touchedSession ||= touchesSession.test(batch.sql);
    for (const [, name = ""] of batch.sql.matchAll(customSetting)) connection.customSettings.add(name);
    try {
      if (batch.last === message.terminate) {
        socket.end();
        return;
      }
      if (connection.copy !== undefined) {
        const bytes = Buffer.concat([connection.copy, batch.bytes]);
        connection.copy = undefined;
        await this.#answerWithin(connection, bytes, batch.last, (data) => {
          for (const part of messagesOf(data)) {
            // The client was asked for its rows before.
            if (part[0] !== message.copyInResponse) socket.write(part);
          }
        });
      } else if (batch.last === message.query && copyFromClient.test(batch.sql)) {
        connection.copy = batch.bytes;
        socket.write(askForRows);
        return;
      } else if (copyAmongOthers.test(batch.sql)) {
        throw new Refused({
          code: "0A000",
          text: "COPY FROM STDIN must be a query of its own, in the simple protocol",
        });
      } else {
        for (const name of batch.names) connection.statements.add(name);
        socket.cork();
        const write = (data: Buffer): void => void (socket.writable && socket.write(data));
        await this.#answerWithin(connection, batch.bytes, batch.last, write).finally(() => socket.uncork());
      }
    } catch (error) {
      if (!(error instanceof EngineEnded)) throw error;
      this.#answerLost(connection, batch);
      return;
    }
    if (touchesAuthorization.test(batch.sql)) this.#authorization = undefined;
    await this.#storeSettings(connection);
  }

  /** The error of a client whose statement was lost with the engine. */
  #answerLost(connection: Connection, { last }: Batch): void {
    const wasInTransaction = this.#inTransaction;
    const { stop } = connection;
    this.#meetEngine();
    connection.touchedSession = false;
    if (stop === undefined) {
      throw new Refused({
        code: "57P02",
        text: "the embedded database ended on this statement and was opened again",
        hint: "Nothing acknowledged is lost. Connect again.",
      });
    }
    // The prepared statements of a client, and messages that it sends before it synchronises, are unknown to the new
    // session.
    if (connection.statements.size > 0 || last === message.flush) throw new Refused(stop);
    connection.lostTransaction = wasInTransaction;
    connection.transactionLimit = undefined;
    connection.socket.write(Buffer.concat([errorResponse(stop, "ERROR"), readyForQuery(wasInTransaction)]));
  }

  /** Lets the session answer, and checks that the answer is complete, which only a flush is not. */
  async #execute(run: Run, reply: (data: Buffer) => void = () => {}, flush = false): Promise<Outcome> {
    const outcome = await this.#engine.run(run, reply);
    if (!outcome.ready && !flush) {
      // The engine ends on a stack overflow, and its state is then unknown.
      await this.#engine.interrupt?.();
      throw new EngineEnded("the embedded database did not answer a statement completely");
    }
    this.#inTransaction = outcome.inTransaction;
    return outcome;
  }

  /** Lets the session answer a connection, within its time limit. */
  async #answerWithin(
    connection: Connection,
    bytes: Buffer,
    last: number,
    reply: (data: Buffer) => void,
  ): Promise<void> {
    const limit = connection.transactionLimit ?? connection.limit;
    connection.began = performance.now();
    connection.stop = undefined;
    // A limit beyond the range of timers does not apply.
    const watchdog = limit < 2 ** 31 ? setTimeout(() => this.#stop(connection, timedOut(limit)), limit) : undefined;
    try {
      const askLimit = bytes.includes("statement_timeout");
      const outcome = await this.#execute({ bytes, askLimit }, reply, last === message.flush);
      if (!outcome.inTransaction) connection.transactionLimit = undefined;
      else if (outcome.limit !== undefined) {
        connection.transactionLimit = milliseconds(outcome.limit) ?? connection.defaultLimit;
      }
    } finally {
      clearTimeout(watchdog);
      connection.began = undefined;
    }
  }

  /** Cancels the statement of a connection. The only way is to end the engine, which then opens the database again. */
  #stop(connection: Connection, reason: Refusal): void {
    const { began } = connection;
    // An answer that arrived while this thread was busy counts.
    setImmediate(() => {
      if (began === undefined || connection.began !== began || connection.stop !== undefined) return;
      connection.stop = reason;
      void this.#engine.interrupt?.();
    });
  }

  /** Executes a cancel request if it comes from the connection's own client. */
  #cancel({ process, secret }: CancelRequest): void {
    for (const connection of this.#connections) {
      if (connection.process !== process || connection.secret !== secret) continue;
      const { began } = connection;
      if (began === undefined) return;
      const left = began + cancelAfter - performance.now();
      setTimeout(
        () => {
          if (connection.began === began) this.#stop(connection, cancelled);
        },
        Math.max(left, 0),
      ).unref();
    }
  }

  async #leave(connection: Connection): Promise<void> {
    clearTimeout(connection.idleTimer);
    this.#connections.delete(connection);
    const place = this.#waiting.indexOf(connection);
    if (place >= 0) this.#waiting.splice(place, 1);
    if (connection.busy) return;
    if (this.#owner === connection) {
      await this.#forget(connection);
    } else if (connection.statements.size > 0) {
      this.#waiting.push(connection);
      this.#next();
    }
  }

  /** Rolls back and closes the state that a connection has left in the session. */
  async #forget(connection: Connection): Promise<void> {
    connection.busy = true;
    try {
      this.#meetEngine();
      await this.#execute({ bytes: synchronise });
      if (this.#inTransaction) await this.#execute({ bytes: simpleQuery("rollback") });
      if (connection.statements.size > 0 && connection.generation === this.#generation) {
        await this.#execute({
          bytes: Buffer.concat([...[...connection.statements].map(closeStatement), synchronise]),
        });
      }
      connection.statements.clear();
      if (connection.touchedSession) this.#dirty = true;
      if (this.#tenant === connection) await this.#settle(undefined);
    } catch {
      // The failure is reported to the next request.
    } finally {
      this.#release(connection);
    }
  }

  /** Stores the session's startup messages, which every connection receives. */
  async prepare(): Promise<void> {
    const replies: Buffer[] = [];
    await this.#execute({ bytes: startupPacket }, (data) => replies.push(data));
    this.#startupMessages = [...messagesOf(Buffer.concat(replies))].filter(([type]) => type !== message.backendKeyData);
  }

  /** Listens on an address, where clients must send the password if there is one. */
  async listen(address: { path: string } | { host: string; port: number }, password?: string): Promise<number> {
    const server = createServer((socket) => this.#accept(socket, password));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(address, resolve);
    });
    this.#servers.push(server);
    const bound = server.address();
    return typeof bound === "object" && bound !== null ? bound.port : 0;
  }

  async stop(): Promise<void> {
    const closed = this.#servers.map((server) => new Promise((resolve) => server.close(resolve)));
    for (const { socket } of this.#connections) socket.destroy();
    await Promise.all(closed);
    // The connection that has the session rolls back after its socket has closed. A running statement ends with the
    // engine.
    const deadline = performance.now() + endWithin;
    while (this.#owner !== undefined && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

export interface SocketOptions {
  /**
   * The path of a Unix socket. Access to its directory, which only its owner may enter, gives access to the database.
   */
  path?: string;
  /** A port of 127.0.0.1, for clients that have the password. 0 selects a free port. */
  tcp?: { port: number; password: string };
  /** Milliseconds after which an idle transaction is rolled back if other connections wait. */
  idleLimit?: number;
}

export interface DatabaseSocket {
  /** The port of 127.0.0.1, if it listens there. */
  readonly port: number | undefined;
  /** Ends all connections and rolls back open transactions. The database stays open. */
  stop(): Promise<void>;
}

/** Lets PostgreSQL clients connect to an embedded database. */
export async function serveSocket(
  engine: Engine,
  { path, tcp, idleLimit = 60_000 }: SocketOptions,
): Promise<DatabaseSocket> {
  const sessions = new SessionServer(engine, idleLimit);
  await sessions.prepare();
  try {
    if (path !== undefined) await sessions.listen({ path });
    const port = tcp && (await sessions.listen({ host: "127.0.0.1", port: tcp.port }, tcp.password));
    return { port, stop: () => sessions.stop() };
  } catch (error) {
    await sessions.stop();
    throw error;
  }
}
