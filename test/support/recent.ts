import { ingest, type Message, refresh } from "../sql/track/messages.ts";
import type { TestDatabase } from "./database.ts";

const DAY = 86_400_000;

/**
 * Nine learners who used four courses on each of the last 70 days, and five annotations of the last days: data for the
 * default arguments of the functions. Refreshed.
 */
export async function makeRecentUse(database: TestDatabase): Promise<void> {
  const now = Date.now();
  const messages: Message[] = Array.from({ length: 9 * 70 }, (_, index) => {
    const [person, day] = [index % 9, Math.floor(index / 9)];
    return {
      type: "track",
      messageId: `recent-${index}`,
      userId: `learner-${person}`,
      event: day % 3 === 0 ? "Task Submitted" : "Page Viewed",
      timestamp: new Date(now - (day + 1) * DAY - person * 60_000).toISOString(),
      properties: { item: `course-${(person + day) % 4}`, itemKind: "course", duration: 30 },
    };
  });
  await ingest(database, messages);
  await refresh(database);
  await database.query("select analytics.refresh_views(), recommend.refresh_lists()");
  for (const days of [1, 2, 3, 4, 5]) {
    await database.query("select analytics.annotate($1, now() - $2 * interval '1 day')", [`Release ${days}`, days]);
  }
}
