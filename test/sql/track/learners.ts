import type { TestDatabase } from "../../support/database.ts";
import { ingest, message, refresh } from "./messages.ts";

/** Two learners, ada and ben, with something in every table that holds people. */
export async function makeLearners(database: TestDatabase): Promise<void> {
  const at = (minute: number) => `2026-03-01T10:${String(minute).padStart(2, "0")}:00Z`;
  await ingest(
    database,
    ["ada", "ben"].flatMap((userId) => [
      message({
        userId,
        type: "identify",
        anonymousId: `${userId}-browser`,
        traits: { plan: "pro" },
        timestamp: at(0),
      }),
      message({ userId, type: "page", properties: { item: "page-1", title: "One" }, timestamp: at(1) }),
      message({ userId, type: "page", properties: { item: "page-2" }, timestamp: at(3) }),
      message({ userId, properties: { item: "task-1", score: 1 }, timestamp: at(59) }),
      message({
        userId,
        event: "Segment Consent Preference Updated",
        properties: { categoryPreferences: { advertising: true } },
        timestamp: at(59),
      }),
    ]),
  );
  await database.query(
    "create table public.enrolment_source as select 'ada' as person, 'course-1' as item, timestamptz '2026-01-01' as enrolled_at union all select 'ben', 'course-1', '2026-01-01'",
  );
  await database.query("select track.sync_enrolments('public.enrolment_source')");
  await database.query(
    "create table public.staff as select person, 'course-2' as item, 'author' as role from unnest(array['ada', 'ben']) as person",
  );
  await database.query("select track.sync_item_roles('public.staff')");
  await refresh(database);
  // Something in the queues as well.
  await ingest(database, [message({ userId: "ada" }), message({ userId: "ben" })]);
  await database.query("select track.refresh_sessions()");
  await ingest(database, [message({ userId: "ada" }), message({ userId: "ben" })]);
}
