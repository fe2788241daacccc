import type { TestDatabase } from "../../support/database.ts";
import { refresh } from "../track/messages.ts";
import { move, send, start, viewed } from "./experiments.ts";

/**
 * An ended experiment with kept results ("new-page") and a running one ("other") on twelve people, and cohorts that read
 * their variations. A rule of retention up to day 7 deletes the exposures.
 */
export async function makeEnded(database: TestDatabase): Promise<void> {
  const people = Array.from({ length: 12 }, (_, i) => `person${i}`);
  await send(
    database,
    people.map((person) => ({ person, event: "Course Viewed", day: 1 })),
  );
  await database.query("select experiment.define_metric('views', 'proportion', '{Course Viewed}')");
  for (const key of ["new-page", "other"]) {
    await start(database, { key, goals: ["views"] }, 5);
    await send(
      database,
      people.map((person, i) => viewed(person, key, i % 2, 6)),
    );
  }
  await send(
    database,
    people.slice(0, 6).map((person) => ({ person, event: "Course Finished", day: 7 })),
  );
  await move(database, "new-page", 5, 20);
  await refresh(database);
  await database.query("select experiment.keep_results('new-page')");
  await database.query(`
    select
      analytics.define_cohort('live', '{"set": "arm.new_page.treatment"}'),
      analytics.define_cohort('fixed', '{"set": "arm.new_page.treatment"}', is_live => false),
      analytics.define_cohort('unrelated', '{"set": "arm.other.treatment"}')`);
  await database.query(
    `select analytics.define_cohort('nested', '{"any": [{"set": "counted"}, {"all": [{"set": "cohort.live"}]}]}')`,
  );
  await refresh(database);
}
