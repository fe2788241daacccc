import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../src/paths.ts";
import { Options } from "../src/simulator/options.ts";
import { Simulation } from "../src/simulator/simulation.ts";
import { ingest, type Message } from "./sql/track/messages.ts";
import { testDatabase } from "./support/database.ts";

const database = await testDatabase();
const text = await readFile(join(packageRoot, "docs/events.md"), "utf8");

/** The part of the document under a heading of the second level. */
const part = (heading: string): string => text.split(/^## /m).find((section) => section.startsWith(heading)) ?? "";

/** The names in the first column of the tables that list events. */
const listed = (section: string): string[] =>
  [...section.matchAll(/\| event \| when[^\n]*\n\|[-|]+\n((?:\|[^\n]*\n)+)/g)].flatMap(([, rows = ""]) =>
    [...rows.matchAll(/^\| `([^`]+)`/gm)].map(([, name = ""]) => name),
  );

const messages = [...text.matchAll(/^\{"type".*$/gm)].map(([line]) => JSON.parse(line) as Message);
const nameOf = ({ type, event }: Message): unknown =>
  ({ page: "Page Viewed", screen: "Screen Viewed", track: event })[type as string];

const people = listed(part("By a person"));
const automatic = listed(part("Automatic"));

test("each event of the tables has an example, and each example is in a table", () => {
  expect(people.length).toBeGreaterThan(25);
  expect(automatic.length).toBeGreaterThan(7);
  const named = [...people, ...automatic];
  expect(new Set(named).size).toBe(named.length);
  const examples = messages.map(nameOf).filter((name) => name !== undefined);
  expect([...new Set(examples)].sort()).toEqual(
    [...named, "Segment Consent Preference Updated", "consent_preferences"].sort(),
  );
});

test("each example has the properties that its table requires", () => {
  const rows = [...text.matchAll(/^\| `([A-Z][^`]+)` \| [^|]+ \| ([^|]*) \|/gm)];
  for (const [, name = "", properties = ""] of rows) {
    const required = (properties.split(";")[0] ?? "").replaceAll(/\([^)]*\)/g, "");
    const example = messages.find((message) => nameOf(message) === name);
    if (example === undefined || required.includes(" or ") || name === "Heartbeat") continue;
    const sent = Object.keys((example["properties"] ?? {}) as object);
    expect(sent, name).toEqual(expect.arrayContaining([...required.matchAll(/`(\w+)`/g)].map(([, key]) => key)));
  }
});

test("each example is accepted, and stored once", async () => {
  expect(await ingest(database, messages)).toEqual({
    accepted: messages.length,
    duplicates: 0,
    rejected: 0,
    errors: [],
  });
  expect(await ingest(database, messages)).toMatchObject({ accepted: 0, duplicates: messages.length });
  expect(
    await database.rows(
      "select external_id, name, value from track.trait join track.identity using (identity_id) order by 1, 2",
    ),
  ).toEqual([
    { external_id: "ada", name: "plan", value: "pro" },
    { external_id: "ada", name: "timezone", value: "Europe/Rome" },
    { external_id: "ben", name: "country", value: "IN" },
    { external_id: "ben", name: "plan", value: "basic" },
  ]);
  expect(await database.value("select count(*)::int from privacy.consent where granted")).toBe(3);
});

test("the automatic events are those of the database, and in no session", async () => {
  const types = await database.value<string[]>(
    "select array_agg(name order by name) from track.event_type where is_automatic",
  );
  expect([...automatic].sort()).toEqual(types);
  while ((await database.rows("select from track.refresh(1000)")).length > 0);
  const names = await database.value<string[]>(`
    select array_agg(distinct event_type.name order by event_type.name)
    from track.event
    join track.event_type using (event_type_id)
    join track.session
      on session.person_id = event.person_id and event.occurred_at between session.started_at and session.ended_at`);
  expect(names).toEqual(expect.arrayContaining(people));
  expect(names.filter((name) => automatic.includes(name))).toEqual([]);
});

test("the event types of the database are in the catalogue, with what they mean for views", async () => {
  const types = await database.rows<{ name: string; opens_view: boolean; is_heartbeat: boolean }>(
    "select name, opens_view, is_heartbeat from track.event_type where description is not null order by 1",
  );
  const named = [...people, ...automatic, "Segment Consent Preference Updated", "Other Event"];
  expect(types.map(({ name }) => name).filter((name) => !named.includes(name))).toEqual([]);
  expect(types.filter(({ opens_view }) => opens_view).map(({ name }) => name)).toEqual([
    "Page Viewed",
    "Screen Viewed",
  ]);
  expect(types.filter(({ is_heartbeat }) => is_heartbeat).map(({ name }) => name)).toEqual([
    "Heartbeat",
    "Video Content Playing",
  ]);
});

test("the weights of recommendations are those of the database", async () => {
  const rows = [
    ...part("What each event means").matchAll(/^\| (`[^|]+`) \| ([\d.]+) \| (once|\d+ times) \| ([^|]*)\|/gm),
  ];
  const documented = rows.flatMap(([, names = "", weight, most = "", effect = ""]) =>
    [...names.matchAll(/`([^`]+)`/g)].map(([, event = ""]) => ({
      event,
      weight: Number(weight),
      most: most === "once" ? 1 : Number(most.split(" ")[0]),
      completes: effect.includes("completes the"),
      dismisses: effect.includes("dismisses the"),
      drops: effect.includes("drops the"),
      liking: /preference (-?[\d.]+)/.exec(effect)?.slice(1).map(Number)[0] ?? null,
      scale: /by `(\w+)`, from (-?[\d.]+) to (-?[\d.]+)/.exec(effect)?.slice(1).join(" ") ?? null,
      known: effect.includes("as known"),
      topic: effect.includes("a topic"),
      withdraws: effect.includes("withdraws"),
    })),
  );
  const stored = await database.rows<{ event: string }>(
    `select event, weight, most_counted as most, completes, dismisses, drops, liking,
       value_property || ' ' || value_from || ' ' || value_to as scale, marks_known as known, dismisses_topic as topic,
       withdraws
     from recommend.event_weight`,
  );
  const byName = (a: { event: string }, b: { event: string }): number => (a.event < b.event ? -1 : 1);
  expect([...documented].sort(byName)).toEqual([...stored].sort(byName));
  expect(documented.map(({ event }) => event).filter((event) => !people.includes(event))).toEqual([]);
});

test("the simulator sends events of the catalogue", () => {
  const sent = new Set<string>();
  const simulation = new Simulation(
    Options.parse({ learners: 20, courses: 4, weeks: 8, until: new Date("2026-03-02") }),
  );
  for (const delivery of simulation.deliveries()) {
    for (const message of delivery.messages) {
      const name = nameOf(message as unknown as Message);
      if (typeof name === "string") sent.add(name);
    }
  }
  expect(sent.size).toBeGreaterThan(8);
  const known = new Set([...people, ...automatic, "Segment Consent Preference Updated"]);
  expect([...sent].filter((name) => !known.has(name))).toEqual([]);
});
