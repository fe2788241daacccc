import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { groupBy, ofGroups, shown } from "../../support/floor.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, refresh } from "../track/messages.ts";
import { DAY, doings, iso, makeDoings, parents, start, withFloor } from "./doings.ts";

const database = await testDatabase();
await makeDoings(database);
const zones: Record<string, string> = {
  p0: "Asia/Kolkata",
  p1: "America/St_Johns",
  p2: "Europe/Berlin",
  p3: "Pacific/Chatham",
  p4: "Mars/Olympus",
};
await ingest(
  database,
  Object.entries(zones).map(([userId, timezone]) => ({
    type: "identify",
    messageId: `zone ${userId}`,
    userId,
    traits: { name: userId },
    context: { timezone },
  })),
);
await refresh(database);

interface Hour {
  weekday: number;
  hour: number;
  events: number;
  people: number;
}

const weekdays = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const placeOf = (at: number, zone: string): string => {
  const parts = new Intl.DateTimeFormat("en-GB", {
    timeZone: zone,
    weekday: "short",
    hour: "2-digit",
    hourCycle: "h23",
  })
    .formatToParts(at)
    .map(({ value }) => value);
  return `${1 + weekdays.indexOf(parts.find((part) => weekdays.includes(part)) ?? "")} ${Number(parts.find((part) => /^\d\d$/.test(part)))}`;
};

const zoneOf = (person: string): string => (person in zones && person !== "p4" ? (zones[person] as string) : "UTC");

function expected(floor: number, zone: string | null, item: string | null): Hour[] {
  const uses = ofGroups(
    doings.filter(
      (one) => one.event === "Task Submitted" && (item === null || one.item === item || parents[one.item] === item),
    ),
    start,
    start + 35 * DAY,
    floor,
  );
  const cells = groupBy(uses, ({ at, person }) => placeOf(at, zone ?? zoneOf(person)));
  return Array.from({ length: 168 }, (_, place) => {
    const [weekday, hour] = [1 + Math.floor(place / 24), place % 24];
    const cell = cells.get(`${weekday} ${hour}`) ?? [];
    const people = new Set(cell.map(({ person }) => person)).size;
    return { weekday, hour, events: shown(cell.length, people, floor), people: shown(people, people, floor) };
  });
}

const ask = (floor: number, zone: string | null, item: string | null): Promise<Hour[]> =>
  withFloor<Hour>(
    database,
    floor,
    `select weekday, hour, event_count::int as events, person_count::int as people
     from analytics.hour_of_week('Task Submitted', $1, $2, zone => $3, item => $4)`,
    [iso(start), iso(start + 35 * DAY), zone, item],
  );

for (const floor of [1, 2, 5]) {
  test(`hours in the time of each person, floor ${floor}`, async () => {
    expect(await ask(floor, null, null)).toEqual(expected(floor, null, null));
  });
}

test("of an item and its parts", async () => {
  expect(await ask(1, null, "course-b")).toEqual(expected(1, null, "course-b"));
});

test("in one zone for all, the period is of its days", async () => {
  const rows = await ask(1, "UTC", null);
  expect(rows).toEqual(expected(1, "UTC", null));
  const [share] = await database.rows(
    "select round(sum(share)::numeric, 9)::float8 as share from analytics.hour_of_week('Task Submitted', $1, $2)",
    [iso(start), iso(start + 35 * DAY)],
  );
  expect(share).toEqual({ share: 1 });
});

test("an unknown zone, event, item or set is an error", async () => {
  for (const argument of ["zone => 'Mars'", "event_name => 'Nothing'", "item => 'nothing'", "among => 'nothing'"])
    expect(await database.rejects(`select * from analytics.hour_of_week(${argument})`)).toMatchObject({
      code: "CF002",
    });
});

test("another number of values is an error, also without a breakdown", async () => {
  for (const count of ["0", "101", "null"])
    expect(await database.rejects(`select * from analytics.hour_of_week(top_values => ${count})`)).toMatchObject({
      code: "CF001",
      message: expect.stringContaining("top_values is"),
    });
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.hour_of_week()")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
