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
 * PostgreSQL clients reach the embedded database through this server. The database is one session, so the server is
 * what a transaction pooler is: a connection owns the session from the first message of a batch until the batch is
 * synchronised and no transaction is open.
 *
 * All of it works around https://github.com/electric-sql/pglite/issues/1046: the server that comes with PGlite
 * (pglite-socket) hands the session over between single messages, so that a statement larger than one network packet
 * can lose its parameters to another client's. It can go once that server keeps the session for a client until its
 * batch is synchronised; the limit of time, the logins and the password then need a place of their own.
 */

/** A cancelled statement costs everybody the time in which the database is opened again: it gets this long to end by itself. */
const cancelAfter = 1000;
/** Milliseconds that a running statement gets when the server stops. */
const endWithin = 1000;
/** Milliseconds that a client has to sign in. */
const signInLimit = 10_000;

/** A statement that asks the client for rows, alone in its query. */
const copyFromClient = /^(?:\s|--.*\n|\/\*[\s\S]*?\*\/)*copy\b[^;]*\bfrom\s+stdin\b[^;]*;?\s*$/i;
/** The same among other statements. */
const copyAmongOthers = /(?:^|;)\s*copy\b[^;]*\bfrom\s+stdin\b/i;

/** What may change a setting beyond the transaction. Rightly or not: the cost of a wrong guess is a look at the settings. */
const touchesSession =
  /\bset_config\s*\([^;]*\bfalse\b|(?:^|;)\s*(?:set\s+(?!local\b|transaction\b|constraints\b)|reset\b|discard\b)/i;

/** Settings with a dot in their name, which the server does not list. */
const customSetting = /\b(?:set\s+(?:session\s+)?|set_config\s*\(\s*')([a-z_]\w*\.[a-z_]\w*)/gi;

/** What may change whose rights the session has. */
const touchesAuthorization = /\bauthorization\b|\bsession_authorization\b|\bdiscard\b/i;

interface Setting {
  name: string;
  value: string;
}

interface Connection {
  socket: Socket;
  inbox: Inbox;
  signIn: SignIn;
  /** It was greeted, and may send statements. */
  started: boolean;
  /** Tells it from others in a request to cancel. */
  process: number;
  secret: number;
  /** Milliseconds that a statement of it may run; the second for the open transaction. */
  limit: number;
  transactionLimit: number | undefined;
  defaultLimit: number;
  /** Prepared statements that it named, which live in the shared session until they are closed. */
  statements: Set<string>;
  /** The engine in which it has them. */
  generation: number;
  /** It may have changed the session's settings since they were last looked at. */
  touchedSession: boolean;
  customSettings: Set<string>;
  /** Its settings, for when others have had the session. */
  settings: Setting[];
  /** Its transaction was lost with an engine: what it sends is refused until it rolls back, as in PostgreSQL. */
  lostTransaction: boolean;
  /** A COPY that waits for its rows: the session reads a statement and its rows in one go. */
  copy: Buffer | undefined;
  /** A batch is being answered. */
  busy: boolean;
  /** Since when the engine works on a batch of it, and why that is to be stopped. */
  began: number | undefined;
  stop: Refusal | undefined;
  /** Ends an open transaction that others wait for too long. */
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
  /** Whose settings the session has, and whether it has any. */
  #tenant: Connection | undefined;
  #dirty = false;
  /** Whose rights the session has, where that is known. */
  #authorization: string | undefined;
  #inTransaction = false;
  /** The engine that all of this is true of. */
  #generation: number;
  /** Roles that may sign in. */
  readonly #logins = new Set([administrator]);
  #greeting: Buffer[] = [];
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
    // A reset is a way to leave; "close" follows it.
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(late);
      void this.#leave(connection);
    });
  }

  /** Tells a connection why it is closed. */
  #end({ socket }: Connection, error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    const refusal = error instanceof Refused ? error.refusal : { code: "08P01", text };
    // Not left to the client, which may be the kind that does not answer.
    socket.end(errorResponse(refusal), () => socket.destroy());
  }

  /** What needs no session: it is answered at once, also while a long statement runs. */
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
      if (this.#logins.has(signIn.user)) this.#greet(connection);
    }
  }

  /** The session's own greeting, with what is the connection's in it. */
  #greet(connection: Connection): void {
    const { socket, process, secret } = connection;
    const { user } = connection.signIn;
    const own: Record<string, string> =
      user === administrator ? {} : { session_authorization: user, is_superuser: "off" };
    const parts = this.#greeting.map((part) => {
      const name = part[0] === message.parameterStatus ? part.toString("utf8", 5, part.indexOf(0, 5)) : "";
      const value = own[name];
      return value === undefined ? part : parameterStatus(name, value);
    });
    const ready = parts.pop() ?? Buffer.alloc(0);
    socket.write(Buffer.concat([...parts, backendKeyData(process, secret), ready]));
    connection.started = true;
  }

  /** Whether a role may sign in is asked once: the answer "role does not exist" comes again when it is needed. */
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
    this.#greet(connection);
  }

  /** Puts a connection in line for the session, or goes on with it when it owns the session already. */
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
      // More may be waiting, or have come meanwhile: in line again, behind the others.
      if (more) this.#want(connection);
    }
  }

  /** A client that leaves a transaction open stops everybody. It may, as long as nobody waits. */
  #watch(connection: Connection): void {
    connection.idleTimer = setTimeout(() => {
      if (this.#waiting.length === 0) this.#watch(connection);
      else {
        this.#end(connection, new Refused({ code: "25P03", text: "a transaction was left open while others waited" }));
      }
    }, this.#idleLimit).unref();
  }

  /** What was true of the session went with its engine. */
  #meetEngine(): void {
    if (this.#generation === this.#engine.generation) return;
    this.#generation = this.#engine.generation;
    this.#tenant = undefined;
    this.#dirty = false;
    this.#authorization = undefined;
    this.#inTransaction = false;
    // Pools learn now, not at their next query, that a connection is of no use any more.
    for (const connection of this.#connections) {
      if (connection.statements.size > 0 && !connection.busy) this.#end(connection, new Refused(restarted));
    }
  }

  /** Gives the session, outside of a transaction, to a connection: its rights and its settings. */
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
    // A guard against accidents, such as "copy … to program", which ends the engine. It is no boundary: the session
    // was begun by the superuser, so that "set session authorization" can always bring that one back.
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

  /** Remembers the settings of the connection that has the session, once it may have changed them. */
  async #remember(connection: Connection): Promise<void> {
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
          text: "COPY FROM STDIN has to be a query of its own, in the simple protocol",
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
    await this.#remember(connection);
  }

  /** What a client is told whose statement was lost with the engine. */
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
    // What a client has prepared, or sends before it synchronises, would meet a session that knows nothing of it.
    if (connection.statements.size > 0 || last === message.flush) throw new Refused(stop);
    connection.lostTransaction = wasInTransaction;
    connection.transactionLimit = undefined;
    connection.socket.write(Buffer.concat([errorResponse(stop, "ERROR"), readyForQuery(wasInTransaction)]));
  }

  /** Lets the session answer, and sees that it does so to the end, which only a flush has not. */
  async #execute(run: Run, reply: (data: Buffer) => void = () => {}, flush = false): Promise<Outcome> {
    const outcome = await this.#engine.run(run, reply);
    if (!outcome.ready && !flush) {
      // So it ends on a stack that overflows, and nobody knows in which state it is.
      await this.#engine.interrupt?.();
      throw new EngineEnded("the embedded database did not answer a statement to its end");
    }
    this.#inTransaction = outcome.inTransaction;
    return outcome;
  }

  /** Lets the session answer a connection, for no longer than its limit. */
  async #answerWithin(
    connection: Connection,
    bytes: Buffer,
    last: number,
    reply: (data: Buffer) => void,
  ): Promise<void> {
    const limit = connection.transactionLimit ?? connection.limit;
    connection.began = performance.now();
    connection.stop = undefined;
    // What is longer than a timer can count is no limit.
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

  /** Ends what runs for a connection. The only way is to end the engine, which then opens the database again. */
  #stop(connection: Connection, reason: Refusal): void {
    const { began } = connection;
    // An answer that has come while this thread was busy counts.
    setImmediate(() => {
      if (began === undefined || connection.began !== began || connection.stop !== undefined) return;
      connection.stop = reason;
      void this.#engine.interrupt?.();
    });
  }

  /** Honours a request to cancel when it comes from the connection's own client. */
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

  /** Rolls back and closes what a connection has left behind in the session. */
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
      // The failure is told to whoever asks next.
    } finally {
      this.#release(connection);
    }
  }

  /** Takes the session's greeting, which every connection gets. */
  async prepare(): Promise<void> {
    const greeting: Buffer[] = [];
    await this.#execute({ bytes: startupPacket }, (data) => greeting.push(data));
    this.#greeting = [...messagesOf(Buffer.concat(greeting))].filter(([type]) => type !== message.backendKeyData);
  }

  /** Listens at an address, where clients have to know the password if there is one. */
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
    // The connection that has the session rolls back after its socket has closed. A statement that runs on ends with
    // the engine.
    const deadline = performance.now() + endWithin;
    while (this.#owner !== undefined && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

export interface SocketOptions {
  /** The path of a Unix socket. Whoever may reach it may use the database: it lies in a directory of its owner's. */
  path?: string;
  /** A port of 127.0.0.1, for clients that know the password. 0 takes any free port. */
  tcp?: { port: number; password: string };
  /** Milliseconds after which a transaction that nothing happens in is rolled back when others wait. */
  idleLimit?: number;
}

export interface DatabaseSocket {
  /** The port of 127.0.0.1, if it listens there. */
  readonly port: number | undefined;
  /** Ends all connections, open transactions rolled back. The database stays open. */
  stop(): Promise<void>;
}

/** Lets PostgreSQL clients reach an embedded database. */
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
