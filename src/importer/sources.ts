import { open, readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { membersOf } from "./archive.ts";
import { checkCompressed, type Input, inputOf, openInput } from "./input.ts";

/** One file to import: a file, a file of a zip archive, or standard input. */
export interface Source {
  /** For the report. */
  name: string;
  /** Without directories, in lower case, without .gz. */
  base: string;
  /** Whether it can be read once only. */
  isStream: boolean;
  open: () => Promise<Input>;
  /** Reads the whole file, and fails when it is damaged. */
  check: () => Promise<void>;
  /** The files of the same directory or archive. */
  siblings: () => Promise<Source[]>;
}

const baseOf = (name: string): string => basename(name).toLowerCase().replace(/\.gz$/, "");

const ZIP = Buffer.from("PK\x03\x04", "latin1");

/** The files of a path: those of a zip archive, or the file itself. */
export async function sourcesOf(path: string): Promise<Source[]> {
  if (path !== "-" && (await beginsWith(path, ZIP))) {
    const all: Source[] = [];
    for (const { name, title, size, open: openMember } of await membersOf(path)) {
      all.push({
        name: title,
        base: baseOf(name),
        isStream: false,
        open: async () => await inputOf(await openMember(), size, title),
        check: async () => {
          for await (const _ of await openMember());
        },
        siblings: () => Promise.resolve(all),
      });
    }
    return all;
  }
  return [fileSource(path)];
}

function fileSource(path: string): Source {
  return {
    name: path === "-" ? "standard input" : basename(path),
    base: baseOf(path),
    isStream: path === "-",
    open: () => openInput(path),
    check: () => (path === "-" ? Promise.resolve() : checkCompressed(path)),
    siblings: async () => {
      if (path === "-") return [];
      const names = await readdir(dirname(path)).catch(() => []);
      return names.map((name) => fileSource(join(dirname(path), name)));
    },
  };
}

/** False also for a file that cannot be opened: the next step names the reason. */
async function beginsWith(path: string, magic: Uint8Array): Promise<boolean> {
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return false;
  try {
    const head = Buffer.alloc(magic.length);
    const { bytesRead } = await file.read(head, 0, head.length, 0).catch(() => ({ bytesRead: 0 }));
    return bytesRead === head.length && head.equals(magic);
  } finally {
    await file.close();
  }
}
