import { PGlite } from "@electric-sql/pglite";
import { vector } from "@electric-sql/pglite-pgvector";

export interface PgliteOptions {
  /** Directory of the database; in memory if omitted. */
  directory?: string;
  /** A tar of a data directory to start from (`PGlite.dumpDataDir`). */
  from?: Blob;
}

/** PostgreSQL as WebAssembly with pgvector, in this process. */
export async function openPglite({ directory, from }: PgliteOptions = {}): Promise<PGlite> {
  return await PGlite.create({
    extensions: { vector },
    ...(directory === undefined ? {} : { dataDir: directory }),
    ...(from === undefined ? {} : { loadDataDir: from }),
  });
}
