import { createServer, type Server, type Socket } from "node:net";
import type { PGlite } from "@electric-sql/pglite";

/*
 * PostgreSQL clients reach the embedded database through this server. The database is one session, so the server is
 * what a transaction pooler is: a connection owns the session from the first message of a batch until the batch is
 * synchronised and no transaction is open. (The server that comes with PGlite hands the session over between single
 * messages, so that a statement larger than one network packet can lose its parameters to another client's.)
 */

/** The parts of the PostgreSQL wire protocol, version 3, that a pooler has to know. */
const sslRequest = 80877103;
const gssRequest = 80877104;
const cancelRequest = 80877102;
const longestStartup = 10_000;
const message = {
  query: 0x51,
  parse: 0x50,
  sync: 0x53,
  flush: 0x48,
  functionCall: 0x46,
  terminate: 0x58,
  copyDone: 0x63,
  copyFail: 0x66,
  copyInResponse: 0x47,
};

/** Where the server has to do something before the next message makes sense. */
const batchEnds: ReadonlySet<number> = new Set([
  message.query,
  message.sync,
  message.flush,
  message.functionCall,
  message.terminate,
]);
const copyEnds: ReadonlySet<number> = new Set([message.copyDone, message.copyFail, message.terminate]);

/** A statement that asks the client for rows, alone in its query. */
const copyFromClient = /^(?:\s|--.*\n|\/\*[\s\S]*?\*\/)*copy\b[^;]*\bfrom\s+stdin\b[^;]*;?\s*$/i;
/** The same among other statements. */
const copyAmongOthers = /(?:^|;)\s*copy\b[^;]*\bfrom\s+stdin\b/i;

/** What may change a setting beyond the transaction. Rightly or not: the cost of a wrong guess is a look at the settings. */
const touchesSession =
  /\bset_config\s*\([^;]*\bfalse\b|(?:^|;)\s*(?:set\s+(?!local\b|transaction\b|constraints\b)|reset\b|discard\b)/i;

/** Settings with a dot in their name, which the server does not list. */
const customSetting = /\b(?:set\s+(?:session\s+)?|set_config\s*\(\s*')([a-z_]\w*\.[a-z_]\w*)/gi;

/** Messages that are answered together. */
interface Batch {
  bytes: Buffer;
  /** The type of the last message. */
  last: number;
  /** Prepared statements that the batch names. */
  names: string[];
  /** The statements in it. */
  sql: string;
}

/** What one connection has sent and not yet had answered, cut at message boundaries. */
class Inbox {
  #buffer: Buffer = Buffer.alloc(0);
  #chunks: Buffer[] = [];
  #length = 0;
  /** Bytes without which the message under way is not complete: spares joining every packet of a long one. */
  #needed = 0;

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
  }

  #gather(): Buffer {
    if (this.#chunks.length > 0) {
      this.#buffer = Buffer.concat([this.#buffer, ...this.#chunks]);
      this.#chunks = [];
    }
    return this.#buffer;
  }

  #take(length: number): Buffer {
    const taken = this.#buffer.subarray(0, length);
    this.#buffer = this.#buffer.subarray(length);
    this.#length -= length;
    return taken;
  }

  /** A start-up packet, which has a length but no type. */
  startup(): Buffer | undefined {
    if (this.#length < 8) return undefined;
    const length = this.#gather().readInt32BE(0);
    if (length < 8 || length > longestStartup) throw new Error("this is not the PostgreSQL protocol");
    return this.#length < length ? undefined : this.#take(length);
  }

  /** All messages up to and including the next one of the given types. */
  batch(ends: ReadonlySet<number>): Batch | undefined {
    const buffer = this.#needed > this.#length ? undefined : this.#gather();
    if (buffer === undefined) return undefined;
    const names: string[] = [];
    const statements: string[] = [];
    let position = 0;
    while (position + 5 <= buffer.length) {
      const type = buffer.readUInt8(position);
      const end = position + 1 + buffer.readInt32BE(position + 1);
      if (end < position + 5) throw new Error("this is not the PostgreSQL protocol");
      if (end > buffer.length) {
        this.#needed = end;
        return undefined;
      }
      if (type === message.parse) {
        const endOfName = buffer.indexOf(0, position + 5);
        const name = buffer.toString("utf8", position + 5, endOfName);
        if (name !== "") names.push(name);
        statements.push(buffer.toString("utf8", endOfName + 1, buffer.indexOf(0, endOfName + 1)));
      } else if (type === message.query) {
        statements.push(buffer.toString("utf8", position + 5, end - 1));
      }
      if (ends.has(type)) {
        this.#needed = 0;
        return { bytes: this.#take(end), last: type, names, sql: statements.join(";") };
      }
      position = end;
    }
    return undefined;
  }
}

interface Setting {
  name: string;
  value: string;
}

interface Connection {
  socket: Socket;
  inbox: Inbox;
  started: boolean;
  /** Prepared statements that it named, which live in the shared session until they are closed. */
  statements: Set<string>;
  /** It may have changed the session's settings since they were last put aside. */
  touchedSession: boolean;
  customSettings: Set<string>;
  /** Its settings, put aside while others have the session. */
  settings: Setting[];
  /** A COPY that waits for its rows: the session reads a statement and its rows in one go. */
  copy: Buffer | undefined;
  /** A batch is being answered. */
  busy: boolean;
  /** Ends an open transaction that others wait for too long. */
  patience: NodeJS.Timeout | undefined;
}

function typed(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type, 0, "latin1");
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

const startupPacket = Buffer.from("\0\0\0\x17\0\x03\0\0user\0postgres\0\0", "latin1");
const synchronise = typed("S", Buffer.alloc(0));

/** Closes a prepared statement, without an error when there is none. */
const closeStatement = (name: string): Buffer => typed("C", Buffer.from(`S${name}\0`));

const errorResponse = (code: string, text: string): Buffer =>
  typed("E", Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${text}\0\0`));

/** COPY's answer to the client: text, the number of columns left open. */
const askForRows = typed("G", Buffer.from([0, 0, 0]));

function* messagesOf(buffer: Buffer): Generator<Buffer> {
  for (let position = 0; position < buffer.length; ) {
    const end = position + 1 + buffer.readInt32BE(position + 1);
    yield buffer.subarray(position, end);
    position = end;
  }
}

export interface DatabaseSocket {
  readonly url: string;
  readonly port: number;
  /** Ends all connections, open transactions rolled back. The database stays open. */
  stop(): Promise<void>;
}

class SessionServer {
  readonly #database: PGlite;
  readonly #idleLimit: number;
  readonly #connections = new Set<Connection>();
  readonly #waiting: Connection[] = [];
  #owner: Connection | undefined;
  /** Whose settings the session has. */
  #tenant: Connection | undefined;
  #failure: Error | undefined;
  #greeting: Buffer = Buffer.alloc(0);
  readonly server: Server;

  constructor(database: PGlite, idleLimit: number) {
    this.#database = database;
    this.#idleLimit = idleLimit;
    this.server = createServer((socket) => this.#accept(socket));
  }

  #accept(socket: Socket): void {
    const connection: Connection = {
      socket,
      inbox: new Inbox(),
      started: false,
      statements: new Set(),
      touchedSession: false,
      customSettings: new Set(),
      settings: [],
      copy: undefined,
      busy: false,
      patience: undefined,
    };
    this.#connections.add(connection);
    socket.setNoDelay(true);
    socket.on("data", (chunk) => {
      connection.inbox.push(chunk);
      this.#want(connection);
    });
    // A reset is a way to leave; "close" follows it.
    socket.on("error", () => {});
    socket.on("close", () => void this.#leave(connection));
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
    clearTimeout(connection.patience);
    let open = false;
    let more = false;
    try {
      if (!connection.started) {
        more = this.#start(connection);
      } else if (this.#connections.has(connection)) {
        const batch = connection.inbox.batch(connection.copy === undefined ? batchEnds : copyEnds);
        if (batch !== undefined) {
          await this.#settle(connection);
          connection.touchedSession ||= touchesSession.test(batch.sql);
          for (const [, name = ""] of batch.sql.matchAll(customSetting)) connection.customSettings.add(name);
          await this.#answer(connection, batch);
          open = batch.last === message.flush;
          more = true;
        }
      }
    } catch (error) {
      connection.socket.end(errorResponse("08P01", error instanceof Error ? error.message : String(error)));
    } finally {
      connection.busy = false;
      if (!this.#connections.has(connection)) await this.#forget(connection);
      else if (open || this.#inTransaction()) this.#watch(connection);
      else this.#release(connection);
      // More may be waiting, or have come meanwhile: in line again, behind the others.
      if (more) this.#want(connection);
    }
  }

  /** A client that leaves a transaction open stops everybody. It may, as long as nobody waits. */
  #watch(connection: Connection): void {
    connection.patience = setTimeout(() => {
      if (this.#waiting.length === 0) this.#watch(connection);
      else {
        const { socket } = connection;
        // Not left to the client, which may be the kind that does not answer.
        socket.end(errorResponse("25P03", "a transaction was left open while others waited"), () => socket.destroy());
      }
    }, this.#idleLimit).unref();
  }

  /** Gives the session the settings of its new owner, those of the one before put aside. */
  async #settle(connection: Connection | undefined): Promise<void> {
    const before = this.#tenant;
    if (before === connection) return;
    this.#tenant = connection;
    if (before !== undefined && (before.touchedSession || before.settings.length > 0)) {
      if (this.#connections.has(before)) {
        const { rows } = await this.#database.query<Setting>(
          `select name, pg_catalog.current_setting(name) as value from pg_catalog.pg_settings where source = 'session'
           union all select name, pg_catalog.current_setting(name, true) from pg_catalog.unnest($1::text[]) as custom (name)
           union all select 'role', pg_catalog.current_setting('role')`,
          [[...before.customSettings]],
        );
        before.settings = rows;
        before.touchedSession = false;
      }
      await this.#database.exec("reset role; reset all");
    }
    if (connection !== undefined && connection.settings.length > 0) {
      await this.#database.query(
        "select pg_catalog.set_config(name, value, false) from pg_catalog.json_to_recordset($1) as setting (name text, value text)",
        [JSON.stringify(connection.settings)],
      );
    }
  }

  async #answer(connection: Connection, batch: Batch): Promise<void> {
    const { socket } = connection;
    if (batch.last === message.terminate) {
      socket.end();
      return;
    }
    if (connection.copy !== undefined) {
      const output: Buffer[] = [];
      await this.#execute(Buffer.concat([connection.copy, batch.bytes]), (data) => output.push(data));
      connection.copy = undefined;
      for (const part of messagesOf(Buffer.concat(output))) {
        // The client was asked for its rows before.
        if (part[0] !== message.copyInResponse) socket.write(part);
      }
    } else if (batch.last === message.query && copyFromClient.test(batch.sql)) {
      connection.copy = batch.bytes;
      socket.write(askForRows);
    } else if (copyAmongOthers.test(batch.sql)) {
      socket.end(errorResponse("0A000", "COPY FROM STDIN has to be a query of its own, in the simple protocol"));
      return;
    } else {
      for (const name of batch.names) connection.statements.add(name);
      socket.cork();
      await this.#execute(batch.bytes, (data) => socket.writable && socket.write(data)).finally(() => socket.uncork());
    }
  }

  /**
   * The server speaks the start-up itself, with the session's own greeting: PGlite ends for good on a packet that it
   * cannot read. What a client asks for there (a user, a database, settings) has no meaning in a shared session.
   */
  #start(connection: Connection): boolean {
    const packet = connection.inbox.startup();
    if (packet === undefined) return false;
    const code = packet.readInt32BE(4);
    if (code === cancelRequest) {
      // A running statement holds the thread: by the time a wish to cancel it is read, it is over.
      connection.socket.end();
      return false;
    }
    if (code === sslRequest || code === gssRequest) {
      connection.socket.write("N");
    } else if (code >> 16 === 3) {
      connection.socket.write(this.#greeting);
      connection.started = true;
    } else {
      throw new Error("only version 3 of the PostgreSQL protocol is spoken here");
    }
    return true;
  }

  async #execute(bytes: Uint8Array, reply: (data: Buffer) => void = () => {}): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      await this.#database.runExclusive(() =>
        this.#database.execProtocolRawStream(new Uint8Array(bytes), {
          // What comes is a view of the database's own memory: it has to be copied before the next statement runs.
          onRawData: (data) => reply(Buffer.from(data)),
        }),
      );
    } catch (error) {
      this.#failure = new Error("the embedded database has failed and must be restarted", { cause: error });
      throw this.#failure;
    }
  }

  #inTransaction(): boolean {
    return this.#failure === undefined && this.#database.isInTransaction();
  }

  async #leave(connection: Connection): Promise<void> {
    clearTimeout(connection.patience);
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
      await this.#execute(synchronise);
      if (this.#inTransaction()) await this.#execute(typed("Q", Buffer.from("rollback\0")));
      if (connection.statements.size > 0) {
        await this.#execute(Buffer.concat([...[...connection.statements].map(closeStatement), synchronise]));
        connection.statements.clear();
      }
      if (this.#tenant === connection) await this.#settle(undefined);
    } catch {
      // The failure is told to whoever asks next.
    } finally {
      this.#release(connection);
    }
  }

  async listen(port: number): Promise<number> {
    const greeting: Buffer[] = [];
    await this.#execute(startupPacket, (data) => greeting.push(data));
    this.#greeting = Buffer.concat(greeting);
    await new Promise<void>((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen(port, "127.0.0.1", resolve);
    });
    const address = this.server.address();
    return typeof address === "object" && address !== null ? address.port : port;
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    for (const { socket } of this.#connections) socket.destroy();
    await closed;
    // Connections that owned the session clean up after their socket has closed.
    while (this.#owner !== undefined) await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export interface SocketOptions {
  /** 0, the default, takes any free port. */
  port?: number;
  /** Milliseconds after which a transaction that nothing happens in is rolled back when others wait. */
  idleLimit?: number;
}

/** Lets PostgreSQL clients reach an embedded database on 127.0.0.1. */
export async function serveSocket(
  database: PGlite,
  { port = 0, idleLimit = 60_000 }: SocketOptions = {},
): Promise<DatabaseSocket> {
  const sessions = new SessionServer(database, idleLimit);
  const bound = await sessions.listen(port);
  return {
    url: `postgres://postgres@127.0.0.1:${bound}/postgres`,
    port: bound,
    stop: () => sessions.stop(),
  };
}
