import { readdir, readFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { MemoryFS, PGlite } from "@electric-sql/pglite";
import { vector } from "@electric-sql/pglite-pgvector";

const extensions = { vector };

/** Opens the directory of a new template. Its write-ahead log has small files, which every copy reads. */
export const createTemplate = (directory: string): Promise<PGlite> =>
  PGlite.create({ dataDir: directory, extensions, initDbStartParams: ["--wal-segsize=1"] });

interface Entry {
  path: string;
  /** Null for a directory. */
  content: Uint8Array | null;
}

async function read(directory: string): Promise<Entry[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const listed = entries.map((entry) => ({ entry, path: relative(directory, join(entry.parentPath, entry.name)) }));
  // A directory before what is in it.
  listed.sort((a, b) => (a.path < b.path ? -1 : 1));
  return await Promise.all(
    listed.map(async ({ entry, path }) => ({
      path,
      content: entry.isDirectory() ? null : new Uint8Array(await readFile(join(directory, path))),
    })),
  );
}

/** The templates that this process has read. */
const templates = new Map<string, Promise<Entry[]>>();

/** The used part of a node of Emscripten's file system in memory. */
interface Node {
  contents: Uint8Array;
  usedBytes: number;
  stream_ops: { write(stream: { node: Node }, ...rest: unknown[]): number };
  node_ops: { mknod(parent: Node, name: string, mode: number, device: number): Node };
}

/** A data directory in memory that begins as a template's. Files are copied when they are first written to. */
class Copy extends MemoryFS {
  readonly #entries: readonly Entry[];

  constructor(entries: readonly Entry[]) {
    super();
    this.#entries = entries;
  }

  override async initialSyncFs(): Promise<void> {
    if (this.pg === undefined) throw new Error("the engine has not started");
    const { FS } = this.pg.Module;
    const { PGDATA } = PGlite.paths;
    const folder = (path: string): Node => FS.lookupPath(path, {}).node as unknown as Node;
    FS.mkdirTree(PGDATA, 0o700);
    const folders = new Map([[".", folder(PGDATA)]]);
    const shared = new Set<Uint8Array>();
    let operations: Node["stream_ops"] | undefined;
    for (const { path, content } of this.#entries) {
      if (content === null) {
        FS.mkdir(`${PGDATA}/${path}`);
        folders.set(path, folder(`${PGDATA}/${path}`));
        continue;
      }
      const parent = folders.get(dirname(path));
      if (parent === undefined) throw new Error(`${path} is listed before its directory`);
      const file = parent.node_ops.mknod(parent, basename(path), 0o100600, 0);
      const original = file.stream_ops;
      operations ??= {
        ...original,
        write(stream, ...rest) {
          const { node } = stream;
          if (shared.has(node.contents)) node.contents = node.contents.slice();
          return original.write(stream, ...rest);
        },
      };
      file.stream_ops = operations;
      file.contents = content;
      file.usedBytes = content.length;
      shared.add(content);
    }
  }
}

/** A database of its own in this process, as the template was when it was closed. */
export async function copyTemplate(directory: string): Promise<PGlite> {
  const files = templates.get(directory) ?? read(directory);
  templates.set(directory, files);
  return await PGlite.create({ fs: new Copy(await files), extensions });
}
