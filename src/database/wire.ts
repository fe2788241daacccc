/*
 * The parts of the PostgreSQL wire protocol, version 3, that a pooler needs: message boundaries, and the few messages
 * that it writes itself.
 */

export const request = { ssl: 80877103, gss: 80877104, cancel: 80877102 };
export const message = {
  query: 0x51,
  parse: 0x50,
  sync: 0x53,
  flush: 0x48,
  functionCall: 0x46,
  terminate: 0x58,
  copyDone: 0x63,
  copyFail: 0x66,
  password: 0x70,
  copyInResponse: 0x47,
  parameterStatus: 0x53,
  backendKeyData: 0x4b,
  readyForQuery: 0x5a,
};

/** Bytes of a startup packet, and of a message of a client that has not signed in yet. */
const longestStartup = 10_000;

/** Messages that the server must answer before the next one can be processed. */
export const batchEnds: ReadonlySet<number> = new Set([
  message.query,
  message.sync,
  message.flush,
  message.functionCall,
  message.terminate,
]);
export const copyEnds: ReadonlySet<number> = new Set([message.copyDone, message.copyFail, message.terminate]);

/** Messages that are answered together. */
export interface Batch {
  bytes: Buffer;
  /** The type of the last message. */
  last: number;
  /** Prepared statements that the batch names. */
  names: string[];
  /** The statements in it. */
  sql: string;
}

const foreign = (): Error => new Error("this is not the PostgreSQL protocol");

/** The unanswered messages of one connection, split at message boundaries. */
export class Inbox {
  #buffer: Buffer = Buffer.alloc(0);
  #chunks: Buffer[] = [];
  #length = 0;
  /** Bytes that the current message needs to be complete: avoids concatenating every packet of a long one. */
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

  /** A startup packet, which has a length but no type. */
  startup(): Buffer | undefined {
    if (this.#length < 8) return undefined;
    const length = this.#gather().readInt32BE(0);
    if (length < 8 || length > longestStartup) throw foreign();
    return this.#length < length ? undefined : this.#take(length);
  }

  /** The body of a message that answers an authentication request. */
  password(): Buffer | undefined {
    if (this.#length < 5) return undefined;
    const buffer = this.#gather();
    const length = buffer.readInt32BE(1);
    if (buffer[0] !== message.password || length < 4 || length > longestStartup) throw foreign();
    return this.#length < length + 1 ? undefined : this.#take(length + 1).subarray(5);
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
      if (end < position + 5) throw foreign();
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

/** The messages of a buffer that contains whole messages. */
export function* messagesOf(buffer: Buffer): Generator<Buffer> {
  for (let position = 0; position < buffer.length; ) {
    const end = position + 1 + buffer.readInt32BE(position + 1);
    yield buffer.subarray(position, end);
    position = end;
  }
}

/** Reassembles messages from chunks that are split at arbitrary positions. */
export class Assembler {
  #pieces: Buffer[] = [];
  #length = 0;
  /** Bytes that a message needs to be complete: avoids concatenating every chunk of a long one. */
  #needed = 5;
  /** The type of the last complete message. */
  last: number | undefined;

  /** Keeps a copy of the chunk; returns the messages that are complete now. */
  push(piece: Uint8Array): Buffer | undefined {
    this.#pieces.push(Buffer.from(piece));
    this.#length += piece.length;
    if (this.#length < this.#needed) return undefined;
    const all = this.#pieces.length === 1 ? (this.#pieces[0] as Buffer) : Buffer.concat(this.#pieces);
    let whole = 0;
    this.#needed = 5;
    while (whole + 5 <= all.length) {
      const end = whole + 1 + all.readInt32BE(whole + 1);
      if (end > all.length) {
        this.#needed = end - whole;
        break;
      }
      this.last = all[whole];
      whole = end;
    }
    const rest = all.subarray(whole);
    this.#pieces = rest.length === 0 ? [] : [rest];
    this.#length = rest.length;
    return whole === 0 ? undefined : all.subarray(0, whole);
  }
}

/** The parameters of a startup packet, such as `user`. */
export function startupParameters(packet: Buffer): Map<string, string> {
  const words = packet.toString("utf8", 8).split("\0");
  const parameters = new Map<string, string>();
  for (let index = 0; index + 1 < words.length && words[index] !== ""; index += 2) {
    parameters.set(words[index] ?? "", words[index + 1] ?? "");
  }
  return parameters;
}

export function typed(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type, 0, "latin1");
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

const integers = (...values: number[]): Buffer => {
  const buffer = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) buffer.writeInt32BE(value, 4 * index);
  return buffer;
};

export const startupPacket: Buffer = Buffer.from("\0\0\0\x17\0\x03\0\0user\0postgres\0\0", "latin1");
export const synchronise: Buffer = typed("S", Buffer.alloc(0));
export const simpleQuery = (sql: string): Buffer => typed("Q", Buffer.from(`${sql}\0`));

/** Closes a prepared statement, without an error if it does not exist. */
export const closeStatement = (name: string): Buffer => typed("C", Buffer.from(`S${name}\0`));

/** CopyInResponse: text format, the number of columns left open. */
export const askForRows: Buffer = typed("G", Buffer.from([0, 0, 0]));

export const parameterStatus = (name: string, value: string): Buffer => typed("S", Buffer.from(`${name}\0${value}\0`));

export const backendKeyData = (process: number, secret: number): Buffer => typed("K", integers(process, secret));

export const readyForQuery = (inFailedTransaction: boolean): Buffer =>
  typed("Z", Buffer.from(inFailedTransaction ? "E" : "I"));

/** An authentication request or response. */
export const authentication = (kind: number, data = ""): Buffer =>
  typed("R", Buffer.concat([integers(kind), Buffer.from(data)]));

/** The error of a refused request. */
export interface Refusal {
  code: string;
  text: string;
  hint?: string;
}

/** A connection that cannot continue. */
export class Refused extends Error {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.text);
    this.refusal = refusal;
  }
}

export function errorResponse({ code, text, hint }: Refusal, severity: "ERROR" | "FATAL" = "FATAL"): Buffer {
  const withHint = hint === undefined ? "" : `H${hint}\0`;
  return typed("E", Buffer.from(`S${severity}\0V${severity}\0C${code}\0M${text}\0${withHint}\0`));
}
