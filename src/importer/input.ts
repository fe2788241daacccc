import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { pipeline, Readable } from "node:stream";
import { TextDecoder } from "node:util";
import { createGunzip } from "node:zlib";
import { ImportError, reason } from "./problem.ts";

export interface Input {
  /** The content of the file, decompressed. */
  bytes: AsyncIterable<Uint8Array>;
  /** Bytes read from the file itself so far, and its size; the size of standard input is unknown. */
  read: () => number;
  size: number | undefined;
  isCompressed: boolean;
  /** Closes the file, read to its end or not; an open pipe would keep the process running. */
  close: () => Promise<void>;
}

/** First bytes of files that are neither text nor gzip, so that they are named instead of reported line by line. */
const FOREIGN: readonly { magic: readonly number[]; name: string; hint: string }[] = [
  { magic: [0x50, 0x4b, 0x03, 0x04], name: "a zip archive", hint: "give the name of the file, or unpack it" },
  { magic: [0xd0, 0xcf, 0x11, 0xe0], name: "an old Excel workbook", hint: "save it as CSV" },
  {
    magic: [0x28, 0xb5, 0x2f, 0xfd],
    name: "compressed with zstd",
    hint: "pipe it: zstd -dc FILE | insights import … -",
  },
  {
    magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a],
    name: "compressed with xz",
    hint: "pipe it: xz -dc FILE | insights import … -",
  },
  { magic: [0x42, 0x5a, 0x68], name: "compressed with bzip2", hint: "pipe it: bzip2 -dc FILE | insights import … -" },
  { magic: [0x50, 0x41, 0x52, 0x31], name: "a Parquet file", hint: "convert it to CSV" },
];
const GZIP = [0x1f, 0x8b] as const;

/** Opens a file, or standard input by the name `-`. gzip is detected by its first bytes, regardless of the name. */
export async function openInput(path: string, stdin: AsyncIterable<Uint8Array> = process.stdin): Promise<Input> {
  if (path === "-") return inputOf(stdin, undefined, "standard input");
  let size: number;
  try {
    const found = await stat(path);
    if (found.isDirectory()) throw new ImportError(`${path} is a directory`, "name one file in it");
    size = found.size;
  } catch (error) {
    if (error instanceof ImportError) throw error;
    throw new ImportError(`cannot open ${path}: ${reason(error)}`, "check the path, and that you may read the file");
  }
  return inputOf(createReadStream(path, { highWaterMark: 1 << 18 }), size, path);
}

/** The content of a stream, decompressed when it is compressed with gzip. */
export async function inputOf(
  source: AsyncIterable<Uint8Array>,
  size: number | undefined,
  name: string,
): Promise<Input> {
  const chunks = source[Symbol.asyncIterator]();
  let read = 0;
  const head: Uint8Array[] = [];
  let known = 0;
  // A pipe may deliver single bytes; five distinguish all formats.
  while (known < 5) {
    const chunk = await chunks.next().catch((error: unknown) => {
      throw new ImportError(`cannot read ${name}: ${reason(error)}`);
    });
    if (chunk.done === true) break;
    head.push(chunk.value);
    known += chunk.value.length;
  }
  const beginning = Buffer.concat(head);
  const foreign = FOREIGN.find(({ magic }) => magic.every((byte, index) => beginning[index] === byte));
  const close = async (): Promise<void> => {
    await chunks.return?.();
  };
  if (foreign !== undefined) {
    await close();
    throw new ImportError(`${name} is ${foreign.name}, not CSV or JSON lines`, foreign.hint);
  }

  async function* whole(): AsyncGenerator<Uint8Array> {
    read += beginning.length;
    if (beginning.length > 0) yield beginning;
    for (let chunk = await chunks.next(); chunk.done !== true; chunk = await chunks.next()) {
      read += chunk.value.length;
      yield chunk.value;
    }
  }
  const packed = GZIP.every((byte, index) => beginning[index] === byte);
  return {
    bytes: textOf(utf8(packed ? gunzip(whole(), name) : whole()), name),
    read: () => read,
    size,
    isCompressed: packed,
    close,
  };
}

/** Fails for a file that is not text, by its beginning: otherwise each of its lines would be rejected. */
async function* textOf(bytes: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Uint8Array> {
  let isFirst = true;
  for await (const chunk of bytes) {
    if (isFirst) {
      const head = chunk.subarray(0, 4_096);
      const odd = head.filter((byte) => byte < 9 || (byte > 13 && byte < 32 && byte !== 27)).length;
      if (odd * 20 > head.length) {
        throw new ImportError(
          `${name} is not text`,
          "give CSV or JSON lines, plain, compressed with gzip, or in a zip archive",
        );
      }
    }
    isFirst = false;
    yield chunk;
  }
}

/** UTF-16 as UTF-8: with a byte order mark, or where each second byte of the first two characters is 0. */
async function* utf8(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let decoder: TextDecoder | undefined;
  let head: Uint8Array | undefined = new Uint8Array();
  for await (const chunk of bytes) {
    let part = chunk;
    if (head !== undefined) {
      head = Buffer.concat([head, chunk]);
      if (head.length < 4) continue;
      decoder = decoderOf(head);
      [part, head] = [head, undefined];
    }
    yield decoder === undefined ? part : Buffer.from(decoder.decode(part, { stream: true }));
  }
  if (head !== undefined) yield head;
  if (decoder !== undefined) yield Buffer.from(decoder.decode());
}

function decoderOf([a = 0, b = 0, c = 0, d = 0]: Uint8Array): TextDecoder | undefined {
  if ((a === 0xff && b === 0xfe) || (a !== 0 && b === 0 && c !== 0 && d === 0)) return new TextDecoder("utf-16le");
  if ((a === 0xfe && b === 0xff) || (a === 0 && b !== 0 && c === 0 && d !== 0)) return new TextDecoder("utf-16be");
  return undefined;
}

/**
 * Fails if a file that is compressed with gzip is damaged: only its end shows it, when a part of the rows would have been
 * stored. A file that is cut off passes: the rows before its end are right.
 */
export async function checkCompressed(path: string): Promise<void> {
  const input = await openInput(path);
  if (!input.isCompressed) return await input.close();
  try {
    for await (const _ of input.bytes);
  } catch (error) {
    if (!(error instanceof ImportError) || !error.message.includes("damaged")) throw error;
    if (!/unexpected end of file/.test(error.message)) {
      throw new ImportError(error.message, "nothing of it is stored; get the complete file again");
    }
  } finally {
    await input.close();
  }
}

async function* gunzip(packed: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Uint8Array> {
  try {
    // A failure of either stream reaches the loop through the destroyed stream.
    yield* pipeline(Readable.from(packed), createGunzip(), () => undefined) as AsyncIterable<Uint8Array>;
  } catch (error) {
    throw new ImportError(
      `${name} is truncated or damaged: ${reason(error)}`,
      "the rows before the error are stored; import the complete file when you have it: nothing is stored twice",
    );
  }
}
