import { PGlite } from "@electric-sql/pglite";
import { vector } from "@electric-sql/pglite-pgvector";

export interface PgliteOptions {
  /** Directory of the database; in memory if omitted. */
  directory?: string;
}

/** PostgreSQL as WebAssembly with pgvector, in this process. */
export async function openPglite({ directory }: PgliteOptions = {}): Promise<PGlite> {
  return await PGlite.create({
    extensions: { vector },
    ...(directory === undefined ? {} : { dataDir: directory }),
  });
}
