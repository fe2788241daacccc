import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();
const at = (day: number): string => new Date(Date.UTC(2026, 0, 1 + day)).toISOString();
const identify = (userId: string, day: number) => ({
  type: "identify",
  messageId: `${userId} ${day}`,
  userId,
  anonymousId: "browser",
  timestamp: at(day),
});
await ingest(database, [
  message({ userId: "ada", timestamp: at(0) }),
  message({ userId: undefined, anonymousId: "browser", timestamp: at(0) }),
  message({ userId: undefined, anonymousId: "other", timestamp: at(0) }),
]);

const people = (names: (string | null)[], days: number[]): Promise<(string | null)[]> =>
  database.value<(string | null)[]>(
    `select array_agg(name.external_id order by owner.place)
     from unnest(track.people_of_identities(
       array(
         select (select min(identity_id) from track.identity where external_id = given.name)
         from unnest($1::text[]) with ordinality as given (name, place) order by given.place
       ),
       $2::timestamptz[]
     )) with ordinality as owner (person_id, place)
     left join track.identity as name on name.identity_id = owner.person_id`,
    [names, days.map(at)],
  );

test("returns the person of each identity, in order, and null for an unknown one", async () => {
  expect(await people(["ada", "browser", null, "other", "ada"], [1, 1, 1, 1, 99])).toEqual([
    "ada",
    "browser",
    null,
    "other",
    "ada",
  ]);
});

test("follows a browser to its user, and from user to user in the course of time", async () => {
  await ingest(database, [identify("ada", 5)]);
  expect(await people(["browser", "browser"], [1, 9])).toEqual(["ada", "ada"]);
  await ingest(database, [identify("ben", 7)]);
  expect(await people(["browser", "browser", "browser", "browser"], [1, 6, 7, 9])).toEqual([
    "ada",
    "ada",
    "ben",
    "ben",
  ]);
  await ingest(database, [identify("ada", 8)]);
  expect(await people(["browser", "browser"], [7, 9])).toEqual(["ben", "ada"]);
  // The same as the person of an event that the browser sends at these times.
  await ingest(database, [
    ...[1, 6, 7.5, 9].map((day) => message({ userId: undefined, anonymousId: "browser", timestamp: at(day) })),
  ]);
  const events = await database.rows<{ person: string; at: string }>(
    `select person.external_id as person, event.occurred_at::text as at
     from track.event
     join track.identity as sender on sender.identity_id = event.identity_id and sender.external_id = 'browser'
     join track.identity as person on person.identity_id = event.person_id`,
  );
  for (const event of events)
    expect(
      await database.value(
        `select name.external_id
         from track.identity as browser
         join track.identity as name on name.identity_id = (track.people_of_identities(array[browser.identity_id], array[$1::timestamptz]))[1]
         where browser.external_id = 'browser' limit 1`,
        [event.at],
      ),
    ).toBe(event.person);
  expect(events.length).toBeGreaterThan(4);
});

test("nobody but the owner may call it", async () => {
  expect(await rolesThatMay(database, "select track.people_of_identities('{}', '{}')")).toEqual([]);
});
