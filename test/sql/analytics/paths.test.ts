import { describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { shown } from "../../support/floor.ts";
import { generator } from "../../support/matrix.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, type Message, refresh } from "../track/messages.ts";
import { DAY, iso, start, withFloor } from "./doings.ts";
import { type Given, pathsOf, type Visit } from "./path_rules.ts";

const database = await testDatabase();
const items: Record<string, [kind: string, parent: string | null]> = {
  red: ["course", null],
  "red/1": ["page", "red"],
  "red/2": ["page", "red"],
  blue: ["course", null],
  "blue/1": ["task", "blue"],
  home: ["page", null],
};
const random = generator(3);
const names = Object.keys(items);
/** Days of twelve people, with pauses of half an hour and more between some of the views. */
const visits: Visit[] = [];
for (let person = 0; person < 12; person++) {
  let at = start + random() * DAY;
  for (let view = 0; view < 60; view++) {
    at += random() < 0.15 ? 1_800_000 * (0.9 + random()) : random() * 600_000;
    const item = names[Math.floor(random() * names.length)] as string;
    visits.push({ person: `p${person}`, at: Math.round(at), item });
    if (random() < 0.2) visits.push({ person: `p${person}`, at: Math.round(at) + 5, item });
  }
}
await ingest(
  database,
  visits.map(
    ({ person, at, item }, index): Message => ({
      type: "page",
      messageId: `v${index}`,
      userId: person,
      timestamp: iso(at),
      properties: { item, itemKind: items[item]?.[0] ?? "", ...(items[item]?.[1] ? { parent: items[item]?.[1] } : {}) },
    }),
  ),
);
await refresh(database);

interface Edge {
  step: number;
  source: string;
  target: string;
  transition_count: number;
  person_count: number;
  share: number;
  seconds: number | null;
}

const nodeOf: Record<string, (item: string) => string | null> = {
  item: (item) => item,
  kind: (item) => items[item]?.[0] ?? null,
  course: (item) => (items[item]?.[0] === "course" ? item : (items[item]?.[1] ?? null)),
};

type Asked = Partial<Given> & { nodes?: string };
const usual = {
  nodes: "item",
  start: null,
  end: null,
  steps: 5,
  wildcards: [] as string[],
  exclusions: [] as string[],
};

/** The transitions, from the views alone. */
function expected(asked: Asked, floor: number): Edge[] {
  const given = { ...usual, ...asked };
  const edges = new Map<string, { people: Set<string>; count: number; took: number }>();
  const sources = new Map<string, number>();
  for (const { person, nodes } of pathsOf(visits, {
    ...given,
    nodeOf: nodeOf[given.nodes] as (item: string) => string,
  })) {
    for (const [index, { node, at }] of nodes.entries()) {
      const next = nodes[index + 1];
      sources.set(`${index + 1} ${node}`, (sources.get(`${index + 1} ${node}`) ?? 0) + 1);
      if (next === undefined) continue;
      const key = JSON.stringify([index + 1, node, next.node]);
      const edge = edges.get(key) ?? { people: new Set(), count: 0, took: 0 };
      edges.set(key, { people: edge.people.add(person), count: edge.count + 1, took: edge.took + next.at - at });
    }
  }
  return [...edges]
    .map(([key, { people, count, took }]): Edge => {
      const [step, source, target] = JSON.parse(key) as [number, string, string];
      const transitions = shown(count, people.size, floor);
      const whole = shown(sources.get(`${step} ${source}`) ?? 0, people.size, floor);
      return {
        step,
        source,
        target,
        transition_count: transitions,
        person_count: shown(people.size, people.size, floor),
        share: expect.closeTo(Math.min(1, transitions / whole), 9) as number,
        seconds: floor > 1 ? (expect.anything() as number) : (expect.closeTo(took / count / 1000, 3) as number),
      };
    })
    .filter(({ transition_count }) => transition_count > 0)
    .sort(
      (one, other) =>
        other.transition_count - one.transition_count ||
        one.step - other.step ||
        (one.source < other.source ? -1 : one.source > other.source ? 1 : one.target < other.target ? -1 : 1),
    );
}

const call = `
  select step, source, target, transition_count::int, person_count::int, share, extract(epoch from mean_time)::float8 as seconds
  from analytics.paths($1, $2, $3, $4, $5, $6, $7, $8, top => null)`;

describe("the transitions are those of the views", () => {
  const cases: [string, Asked][] = [
    ["items", {}],
    ["two steps", { steps: 2 }],
    ["kinds", { nodes: "kind", steps: 8 }],
    ["courses, without items of none", { nodes: "course" }],
    ["from a node", { start: "home" }],
    ["to a node", { end: "blue/1", steps: 3 }],
    ["from one node to another", { start: "home", end: "red/1", steps: 20 }],
    ["with the nodes in the middle left out", { start: "home", end: "red/1", steps: 4 }],
    ["an odd number of steps", { start: "home", end: "red/1", steps: 3 }],
    ["wildcards, the first of which matches", { wildcards: ["red/*", "*/1"] }],
    ["exclusions", { exclusions: ["home", "blue*"], steps: 4 }],
    ["a wildcard as the start", { wildcards: ["red*"], start: "red*" }],
  ];
  for (const [name, asked] of cases) {
    for (const floor of [1, 3]) {
      test(`${name}, floor ${floor}`, async () => {
        const given = { ...usual, ...asked };
        const rows = await withFloor<Edge>(database, floor, call, [
          iso(start),
          iso(start + 20 * DAY),
          given.nodes,
          given.start,
          given.end,
          given.steps,
          given.wildcards,
          given.exclusions,
        ]);
        const edges = expected(asked, floor);
        // Days of few people are left out for analysts: those at the end of the period.
        if (floor === 1) expect(rows).toEqual(edges);
        else
          for (const row of rows)
            expect(row.person_count <= (edges.find((edge) => same(edge, row))?.person_count ?? 0)).toBe(true);
        expect(rows.length).toBeGreaterThan(floor === 1 ? 0 : -1);
      });
    }
  }
  const same = (one: Edge, other: Edge): boolean =>
    one.step === other.step && one.source === other.source && one.target === other.target;
});

test("two sets of people side by side", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(
      "select track.set_person_set('few', array(select track.find_person('p' || n) from generate_series(0, 3) n))",
    );
    const period = [iso(start), iso(start + 20 * DAY)];
    const of = (among: string) =>
      db.rows<Edge>(
        `select step, source, target, transition_count::int, person_count::int, share
         from analytics.paths($1, $2, among => $3, top => null)`,
        [...period, among],
      );
    const both = await db.rows<Record<string, unknown>>(
      `select step, source, target, transition_count::int, compared_transition_count::int as compared,
         compared_person_count::int as people, compared_share as share
       from analytics.paths($1, $2, among => '~few', compared_with => 'few', top => null)`,
      period,
    );
    const key = (edge: object): string => JSON.stringify(Object.values(edge).slice(0, 3));
    const few = new Map((await of("few")).map((edge) => [key(edge), edge]));
    const others = new Map((await of("~few")).map((edge) => [key(edge), edge]));
    expect(new Set(both.map(key))).toEqual(new Set([...few.keys(), ...others.keys()]));
    for (const edge of both) {
      expect(edge["transition_count"]).toBe(others.get(key(edge))?.transition_count ?? 0);
      expect(edge["compared"]).toBe(few.get(key(edge))?.transition_count ?? 0);
      expect(edge["people"]).toBe(few.get(key(edge))?.person_count ?? 0);
      if (few.has(key(edge))) expect(edge["share"]).toBeCloseTo(few.get(key(edge))?.share ?? 0, 9);
    }
  });
});

test.each([
  ["start_at => 'hom'", "CF002", 'start_at is "hom"'],
  ["end_at => 'nowhere'", "CF002", 'end_at is "nowhere"'],
  ["start_at => 'home', exclusions => '{home}'", "CF002", 'start_at is "home"'],
  ["nodes => 'pages'", "CF001", 'nodes is "pages"'],
  ["steps => 1", "CF001", "steps"],
  ["steps => 21", "CF001", "steps"],
  ["top => 0", "CF001", "top"],
  ["wildcards => array_fill('x'::text, '{101}')", "CF008", "101 wildcards"],
  ["exclusions => '{null}'", "CF008", "exclusions"],
  ["compared_with => 'nobody'", "CF002", "nobody"],
])("%s is an error", async (argument, code, text) => {
  expect(await database.rejects(`select * from analytics.paths(${argument})`)).toMatchObject({
    code,
    message: expect.stringContaining(text),
  });
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.paths()")).toEqual(["analyst", "admin", "worker"]);
});
