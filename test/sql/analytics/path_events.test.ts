import { describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { generator } from "../../support/matrix.ts";
import { ingest, type Message, refresh } from "../track/messages.ts";
import { DAY, iso, start } from "./doings.ts";
import { type Given, pathsOf, type Visit } from "./path_rules.ts";

/* Paths of events, beside the same rules applied to the events in TypeScript. */
const database = await testDatabase();
const random = generator(5);
const types = ["Page Viewed", "Page Viewed", "Task Started", "Task Submitted", "Heartbeat", "Task Graded"];
const items = ["home", "red/1", "red/2", ""];
const events: (Visit & { event: string })[] = [];
for (let person = 0; person < 8; person++) {
  let at = start + random() * DAY;
  for (let index = 0; index < 80; index++) {
    at += random() < 0.15 ? 1_800_000 * (0.9 + random()) : random() * 600_000;
    events.push({
      person: `p${person}`,
      at: Math.round(at),
      event: types[Math.floor(random() * types.length)] as string,
      item: items[Math.floor(random() * items.length)] as string,
    });
  }
}
await ingest(
  database,
  events.map(
    ({ person, at, event, item }, index): Message => ({
      type: "track",
      messageId: `e${index}`,
      userId: person,
      event,
      timestamp: iso(at),
      properties: item === "" ? {} : { item },
    }),
  ),
);
await refresh(database);

interface Edge {
  step: number;
  source: string;
  target: string;
  transitions: number;
  people: number;
  seconds: number;
}

const nodeOf: Record<string, (visit: Visit & { event: string }) => string> = {
  event: ({ event }) => (event === "Heartbeat" ? "" : event),
  page_or_event: ({ event, item }) => (event === "Heartbeat" ? "" : event === "Page Viewed" ? item : event),
};

function expected(nodes: string, given: Partial<Given>): Edge[] {
  // Grades are automatic events: they are in no session, and separate none.
  const visits = events
    .filter(({ event }) => event !== "Task Graded")
    .map((visit) => ({ ...visit, item: nodeOf[nodes]?.(visit) ?? "" }));
  const edges = new Map<string, { people: Set<string>; count: number; took: number }>();
  for (const { person, nodes: path } of pathsOf(visits, {
    nodeOf: (item) => (item === "" ? null : item),
    start: null,
    end: null,
    steps: 5,
    wildcards: [],
    exclusions: [],
    ...given,
  }))
    for (const [index, { node, at }] of path.entries()) {
      const next = path[index + 1];
      if (next === undefined) continue;
      const key = JSON.stringify([index + 1, node, next.node]);
      const edge = edges.get(key) ?? { people: new Set(), count: 0, took: 0 };
      edges.set(key, { people: edge.people.add(person), count: edge.count + 1, took: edge.took + next.at - at });
    }
  return [...edges]
    .map(([key, { people, count, took }]): Edge => {
      const [step, source, target] = JSON.parse(key) as [number, string, string];
      const seconds = expect.closeTo(took / count / 1000, 3) as number;
      return { step, source, target, transitions: count, people: people.size, seconds };
    })
    .sort(
      (one, other) =>
        other.transitions - one.transitions ||
        one.step - other.step ||
        (one.source < other.source ? -1 : one.source > other.source ? 1 : one.target < other.target ? -1 : 1),
    );
}

const call = `
  select step, source, target, transition_count::int as transitions, person_count::int as people,
    extract(epoch from mean_time)::float8 as seconds
  from analytics.paths($1, $2, $3, $4, $5, $6, $7, $8, top => null)`;
const period = [iso(start), iso(start + 20 * DAY)];

describe("paths of events", () => {
  const cases: [string, string, Partial<Given>][] = [
    ["names", "event", {}],
    ["names, to a node", "event", { end: "Task Submitted", steps: 3 }],
    ["names, a wildcard", "event", { wildcards: ["Task*"], steps: 10 }],
    ["names, an exclusion", "event", { exclusions: ["Page*"], steps: 20 }],
    ["pages and names", "page_or_event", {}],
    ["pages and names, from a page to an event", "page_or_event", { start: "home", end: "Task Started", steps: 4 }],
    ["pages and names, wildcards", "page_or_event", { wildcards: ["red/*"], exclusions: ["Task Started"] }],
  ];
  test.each(cases)("%s", async (_name, nodes, given) => {
    const rows = await database.rows<Edge>(call, [
      ...period,
      nodes,
      given.start ?? null,
      given.end ?? null,
      given.steps ?? 5,
      given.wildcards ?? [],
      given.exclusions ?? [],
    ]);
    expect(rows.length).toBeGreaterThan(3);
    expect(rows).toEqual(expected(nodes, given));
  });
});

test("sequences of events are the transitions of their paths", async () => {
  const pairs = new Map<string, number>();
  for (const { source, target, transitions } of expected("page_or_event", { steps: 1000 }))
    pairs.set(`${source} > ${target}`, (pairs.get(`${source} > ${target}`) ?? 0) + transitions);
  const rows = await database.rows<{ pair: string; times: number }>(
    `select array_to_string(nodes, ' > ') as pair, occurrence_count::int as times
     from analytics.sequences($1, $2, 'page_or_event', 2, top => null)`,
    period,
  );
  expect(new Map(rows.map(({ pair, times }) => [pair, times]))).toEqual(pairs);
});

test("a node that is no event is an error that names the nearest one", async () => {
  expect(
    await database.rejects("select * from analytics.paths($1, $2, 'event', 'Task Submited')", period),
  ).toMatchObject({ code: "CF002", hint: 'Did you mean "Task Submitted"?' });
  expect(await database.rejects("select * from analytics.transitions($1, $2, 'event')", period)).toMatchObject({
    code: "CF001",
  });
});
