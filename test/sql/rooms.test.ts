import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../support/database.ts";
import { withoutComments } from "../support/sql.ts";

/*
 * The borders between the rooms, read from the sources in the catalogue. SQL that a function writes as text counts as well;
 * comments do not.
 */
const database = await testDatabase();

/** A room reaches only rooms before it. */
const rooms = ["common", "ml", "privacy", "track", "experiment", "analytics", "recommend", "monitor"];
const room = rooms.join("|");

interface Source {
  /** Name of the function or view. */
  name: string;
  room: string;
  text: string;
}

async function sources(db: Queries): Promise<Source[]> {
  const rows = await db.rows<Source>(
    `select procedure.oid::regprocedure::text as name, namespace.nspname as room,
       coalesce(pg_get_function_sqlbody(procedure.oid), procedure.prosrc) as text
     from pg_catalog.pg_proc as procedure
     join pg_catalog.pg_namespace as namespace on namespace.oid = procedure.pronamespace
     where namespace.nspname = any ($1)
       and procedure.prokind in ('f', 'p')
     union all
     select class.oid::regclass::text, namespace.nspname, pg_get_viewdef(class.oid)
     from pg_catalog.pg_class as class
     join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
     where namespace.nspname = any ($1)
       and class.relkind in ('v', 'm')`,
    [rooms],
  );
  return rows.map((row) => ({ ...row, text: withoutComments(row.text) }));
}

/** Functions and relations by name, to tell a use from a word of a message. */
async function objects(db: Queries): Promise<Set<string>> {
  const rows = await db.rows<{ name: string }>(
    `select format('%s.%s', namespace.nspname, object.name) as name
     from (
       select pronamespace as namespace, proname || '(' as name from pg_catalog.pg_proc
       union all
       select relnamespace, relname from pg_catalog.pg_class where relkind in ('r', 'p', 'v', 'm', 'S')
     ) as object
     join pg_catalog.pg_namespace as namespace on namespace.oid = object.namespace
     where namespace.nspname = any ($1)`,
    [rooms],
  );
  return new Set(rows.map(({ name }) => name));
}

type Rule = (source: Source, known: Set<string>) => string[];

const found = (text: string, pattern: RegExp): { of: string; object: string }[] =>
  [...text.matchAll(pattern)].map(([, of, object]) => ({ of: of ?? "", object: `${of}.${object}` }));

const rules: Record<string, Rule> = {
  "no room calls a private function of another one": ({ room: own, text }) =>
    found(text, new RegExp(`\\b(${room})\\.(_\\w+)\\s*\\(`, "gi"))
      .filter(({ of }) => of !== own)
      .map(({ object }) => object),

  "no room writes into a table of another one": ({ room: own, text }) =>
    found(
      text,
      new RegExp(
        `\\b(?:insert\\s+into|update|delete\\s+from|merge\\s+into|truncate(?:\\s+table)?|copy)\\s+(?:only\\s+)?(${room})\\.(\\w+)`,
        "gi",
      ),
    )
      .filter(({ of }) => of !== own)
      .map(({ object }) => object),

  "no room reaches one that comes after it": ({ room: own, text }, known) =>
    [
      ...found(text, new RegExp(`\\b(${room})\\.(\\w+\\()`, "gi")),
      ...found(
        text,
        new RegExp(
          `\\b(?:from|join|into|update|using|truncate|table)\\s+(?:only\\s+)?(${room})\\.(\\w+)\\b(?!\\s*\\()`,
          "gi",
        ),
      ),
    ]
      .filter(({ of, object }) => rooms.indexOf(of) > rooms.indexOf(own) && known.has(object))
      .map(({ object }) => object),
};

async function offenders(db: Queries, rule: string): Promise<string[]> {
  const known = await objects(db);
  return (await sources(db))
    .flatMap((source) => (rules[rule]?.(source, known) ?? []).map((object) => `${source.name}: ${object}`))
    .sort();
}

describe("the sources of functions and views", () => {
  test("are there, and each room has some", async () => {
    const all = await sources(database);
    expect(new Set(all.map((source) => source.room))).toEqual(new Set(rooms));
    expect(all.filter(({ text }) => /\btrack\.\w+/.test(text)).length).toBeGreaterThan(20);
  });

  test.each(Object.keys(rules))("%s", async (rule) => {
    const wrong = await offenders(database, rule);
    expect(wrong, wrong.join("\n")).toEqual([]);
  });

  test.each([
    ["no room calls a private function of another one", "begin perform ml._version('x'); end", "ml._version"],
    [
      "no room calls a private function of another one",
      "begin execute format('select ml._version(%L)', 'x'); end",
      "ml._version",
    ],
    [
      "no room writes into a table of another one",
      "begin INSERT\n INTO ml.model (version) values (1); end",
      "ml.model",
    ],
    [
      "no room writes into a table of another one",
      "begin with a as (delete from only privacy.consent) select 1; end",
      "privacy.consent",
    ],
    ["no room writes into a table of another one", "begin execute 'truncate privacy.consent'; end", "privacy.consent"],
    [
      "no room writes into a table of another one",
      "begin merge into ml.model using x on true when matched then delete; end",
      "ml.model",
    ],
    ["no room writes into a table of another one", "begin update ml.model as m set version = 1; end", "ml.model"],
    ["no room reaches one that comes after it", "begin perform recommend.train('course'); end", "recommend.train("],
    ["no room reaches one that comes after it", "begin perform 1 from analytics.snapshot; end", "analytics.snapshot"],
  ])("are read so that one that breaks a rule is found: %s, %s", async (rule, body, object) => {
    await database.as("postgres", {}, async (db) => {
      await db.query("set local check_function_bodies to off");
      await db.query(`create function track.breaks_a_rule() returns void language plpgsql as $f$ ${body} $f$`);
      expect(await offenders(db, rule)).toEqual([`track.breaks_a_rule(): ${object}`]);
    });
  });

  test.each([
    "begin -- insert into ml.model\n /* ml._version() */ perform track.rebuild(); end",
    "begin perform common.refuse('CF006', 'not trained', 'Run recommend.train, or read analytics.snapshot.'); end",
    "begin perform 1 from privacy.consent for update; end",
  ])("are read so that what keeps the rules is not found: %s", async (body) => {
    await database.as("postgres", {}, async (db) => {
      await db.query("set local check_function_bodies to off");
      await db.query(`create function track.keeps_the_rules() returns void language plpgsql as $f$ ${body} $f$`);
      for (const rule of Object.keys(rules)) expect(await offenders(db, rule), rule).toEqual([]);
    });
  });
});

test("a foreign key points to the same room or to one before it", async () => {
  const keys = await database.rows<{ name: string; own: string; other: string }>(
    `select format('%s: %s', definition.conrelid::regclass, definition.conname) as name,
       own.relnamespace::regnamespace::text as own, other.relnamespace::regnamespace::text as other
     from pg_catalog.pg_constraint as definition
     join pg_catalog.pg_class as own on own.oid = definition.conrelid
     join pg_catalog.pg_class as other on other.oid = definition.confrelid
     where definition.contype = 'f'
       and own.relnamespace::regnamespace::text = any ($1)`,
    [rooms],
  );
  expect(keys.length).toBeGreaterThan(10);
  expect(keys.filter(({ own, other }) => rooms.indexOf(other) > rooms.indexOf(own))).toEqual([]);
});
