import type { Queries } from "./database.ts";

/*
 * A platform small enough to check without a computer. Ten learners took two courses of a subject each; ada took one,
 * and the other course of her subject is the expected recommendation.
 */

export const learners = ["ada", "ben", "cleo", "dan", "eve", "fay", "gus", "hal", "ida", "jon", "kim"] as const;

const courses = {
  "course-algebra": "Algebra",
  "course-analysis": "Analysis",
  "course-poetry": "Poetry",
  "course-drama": "Drama",
};

function message(person: string, number: number, event: string, item: string | undefined, minutes: number): object {
  return {
    type: "track",
    messageId: `${person}-${number}`,
    userId: person,
    event,
    timestamp: new Date(Date.now() - 3 * 86_400_000 + minutes * 60_000).toISOString(),
    properties: item === undefined ? {} : { item },
  };
}

/** Stores the platform in the database, and computes the data that the workers would compute. */
export async function makeWorld(database: Pick<Queries, "query">): Promise<void> {
  const batch: object[] = Object.entries(courses).map(([item, itemTitle], number) => ({
    type: "track",
    messageId: `catalogue-${number}`,
    userId: "catalogue",
    event: "Course Published",
    properties: { item, itemKind: "course", itemTitle },
  }));
  learners.forEach((person, number) => {
    const [one, other] = number % 2 === 0 ? ["course-algebra", "course-analysis"] : ["course-poetry", "course-drama"];
    batch.push(message(person, 1, "Course Enrolled", one, number), message(person, 2, "Page Viewed", one, number + 1));
    if (person !== "ada") batch.push(message(person, 3, "Course Enrolled", other, number + 60));
    batch.push({
      type: "identify",
      messageId: `${person}-i`,
      userId: person,
      anonymousId: `browser of ${person}`,
      traits: { plan: `plan of ${person}` },
    });
  });
  await database.query("select track.ingest($1)", [JSON.stringify(batch)]);
  // So small a world is compared by time.
  await database.query("update recommend.setting set fewest_test_people = 1");
  await refresh(database);
}

/** Runs every refresh to its end. */
export async function refresh(database: Pick<Queries, "query">): Promise<void> {
  while ((await database.query("select from track.refresh()")).rows.length > 0);
  await database.query("select analytics.refresh_views(), recommend.refresh_lists()");
}
