import type { Queries } from "../../support/database.ts";
import { ingest, message } from "./messages.ts";

/** Events of a type with a property, one per entry: person, day of March 2026, value. */
export async function submit(db: Queries, entries: [string, string, unknown][], event = "Task Submitted") {
  await ingest(
    db,
    entries.map(([userId, day, plan]) =>
      message({
        userId,
        event,
        timestamp: `2026-03-${day}T10:00:00Z`,
        properties: plan === undefined ? {} : { plan },
      }),
    ),
  );
}

/** The key of an event type. */
export const typeOf = (name = "Task Submitted"): string =>
  `(select event_type_id from track.event_type where name = '${name}')`;
