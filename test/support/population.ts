import { Options, type OptionsInput } from "../../src/simulator/options.ts";
import { simulate } from "../../src/simulator/run.ts";
import type { TestDatabase } from "./database.ts";
import { refresh } from "./world.ts";

/**
 * Puts a simulated population with its enrolments into the database, and refreshes the data that is derived from it. Its
 * truth is in the schema `canvas_flow_truth`. Models are not trained: that takes far longer.
 */
export async function makePopulation(database: TestDatabase, options: Partial<OptionsInput> = {}): Promise<void> {
  const client = await database.pool.connect();
  try {
    await simulate(
      client,
      Options.parse({ learners: 100, courses: 4, weeks: 8, seed: 5, until: new Date("2025-06-02"), ...options }),
    );
  } finally {
    client.release();
  }
  await database.query("select track.sync_enrolments('canvas_flow.enrolment_states')");
  await refresh(database);
}
