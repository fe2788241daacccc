import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { crc32 } from "node:zlib";
import { type Entry, openPromise, type ZipFile } from "yauzl";
import { ImportError, reason, shown } from "./problem.ts";

/** A file in a zip archive. */
export interface Member {
  name: string;
  /** The archive with the file, for the report. */
  title: string;
  /** Its size when it is unpacked. */
  size: number;
  /** Its content. Fails at the end when it is not the content that was packed. */
  open: () => Promise<AsyncIterable<Uint8Array>>;
}

const MOST_MEMBERS = 1_000;
/** Logs are packed to a tenth or a thirtieth of their size. Deflate reaches 1,032. */
const LARGEST_RATIO = 200;
const SMALLEST_LIMIT = 100 * 2 ** 20;
/** Files that systems add to archives. */
const IGNORED = /(^|\/)(__MACOSX\/|\.|Thumbs\.db$)/;

/** The files of a zip archive, in its order; refused as a whole when it is damaged, encrypted or would unpack without bound. */
export async function membersOf(path: string): Promise<Member[]> {
  const { size } = await stat(path);
  const zip = await openPromise(path, { lazyEntries: true, autoClose: false }).catch((error: unknown) => {
    throw damaged(path, error);
  });
  try {
    const entries = (await entriesOf(zip, path)).filter(
      ({ fileName }) => !fileName.endsWith("/") && !IGNORED.test(fileName),
    );
    if (entries.some(({ fileName }) => fileName === "[Content_Types].xml")) {
      throw new ImportError(`${path} is an Excel workbook`, "save it as CSV");
    }
    const locked = entries.find((entry) => entry.isEncrypted());
    if (locked !== undefined) {
      throw new ImportError(`${path} is encrypted: ${shown(locked.fileName)}`, "unpack it with its password first");
    }
    const [unpacked, packed] = entries.reduce(
      ([all, parts], entry) => [all + entry.uncompressedSize, parts + entry.compressedSize],
      [0, 0],
    );
    // Members that overlap are larger together than the file.
    if (packed > size || unpacked > Math.max(SMALLEST_LIMIT, LARGEST_RATIO * size)) {
      throw new ImportError(
        `${path} would unpack to ${unpacked.toLocaleString("en")} bytes from ${size.toLocaleString("en")}`,
        "no log is packed so much; unpack it yourself if you trust it",
      );
    }
    if (entries.length === 0) throw new ImportError(`${path} has no files`, "check that it is the whole download");
    return entries.map((entry) => ({
      name: entry.fileName,
      title: `${basename(path)}: ${shown(entry.fileName)}`,
      size: entry.uncompressedSize,
      open: () => contentOf(path, entry),
    }));
  } finally {
    zip.close();
  }
}

async function entriesOf(zip: ZipFile, path: string): Promise<Entry[]> {
  if (zip.entryCount > MOST_MEMBERS) {
    throw new ImportError(`${path} has ${zip.entryCount.toLocaleString("en")} files, more than ${MOST_MEMBERS}`);
  }
  const entries: Entry[] = [];
  await new Promise<void>((resolve, reject) => {
    zip.on("entry", (entry) => {
      entries.push(entry);
      zip.readEntry();
    });
    zip.on("end", resolve);
    zip.on("error", (error) => reject(damaged(path, error)));
    zip.readEntry();
  });
  return entries;
}

async function contentOf(path: string, entry: Entry): Promise<AsyncIterable<Uint8Array>> {
  const zip = await openPromise(path, { lazyEntries: true, autoClose: false });
  const packed = await zip.openReadStreamPromise(entry).catch((error: unknown) => {
    zip.close();
    throw damaged(path, error);
  });
  return (async function* () {
    let sum = 0;
    try {
      for await (const chunk of packed as AsyncIterable<Uint8Array>) {
        sum = crc32(chunk, sum);
        yield chunk;
      }
    } catch (error) {
      throw damaged(path, error);
    } finally {
      packed.destroy();
      zip.close();
    }
    if (sum !== entry.crc32) throw damaged(path, `the checksum of ${shown(entry.fileName)} is another one`);
  })();
}

function damaged(path: string, error: unknown): ImportError {
  return new ImportError(
    `${path} is truncated or damaged: ${reason(error)}`,
    "nothing of it is stored; get the complete file again",
  );
}
