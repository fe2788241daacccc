import { glob, readFile } from "node:fs/promises";
import { join } from "node:path";
import type pg from "pg";
import { describe, expect, test } from "vitest";
import { packageRoot } from "../../src/paths.ts";
import { testDatabase } from "../support/database.ts";
import { makeWorld } from "../support/world.ts";

/*
 * Every code of an error that the functions raise, with examples as psql prints them: this file generates README.md in
 * this directory and compares it. Invalid input changes nothing, so one set of tables serves all examples.
 */
const database = await testDatabase();
await makeWorld(database);
await database.query(`
  create schema lab;
  grant usage, create on schema lab to insights_admin, insights_worker;
  create table lab.houses (house_id int primary key, price float8, tax float8, bath int, area text, sold boolean, sold_at date);
  insert into lab.houses
  select number, 50000 + 900 * number, 100 + number % 7, 1 + number % 3, 'area ' || number % 4, number % 2 = 0,
    date '2026-01-01' + number
  from generate_series(1, 40) as number;
  create table lab.empty (like lab.houses);
  create view lab.doubled as select *, 2 * tax as twice from lab.houses;
  create table lab.split_already as select *, 'train' as split from lab.houses;
  create table lab.secret (x int);
  create table lab.tree (external_id text, kind text, title text, parent text);
  insert into lab.tree values ('a', 'module', 'A', 'b'), ('b', 'module', 'B', 'a');
  create table lab.houses_out ();
  grant select on lab.houses, lab.empty, lab.doubled, lab.split_already, lab.tree to insights_admin, insights_worker;
  set role insights_admin;
  select ml.register_model('lab.price', 'regression', 'linear',
    '{"kind": "linear", "link": "identity", "intercept": 1, "features": [{"name": "tax", "type": "number", "coefficient": 2, "mean": 3}]}'::jsonb);
  reset role;
`);

const meanings: Record<string, string> = {
  CF001: "invalid argument",
  CF002: "not found; the nearest name is suggested",
  CF003: "exists already",
  CF004: "no rows, or too few",
  CF005: "not allowed",
  CF006: "not trained yet",
  CF007: "numerically impossible: collinear, separated, singular",
  CF008: "too large",
  CF009: "malformed input",
  CF010: "conflict with what exists",
};

type Example = readonly [role: string, statement: string];

/** Enough to show the kinds of a code, from every room that raises it. */
const examples: Record<string, readonly Example[]> = {
  CF001: [
    ["admin", "select recommend.for_person('ada', top => 0)"],
    ["analyst", "select analytics.popular_items(since => '2026-02-01', until => '2026-01-01')"],
    ["analyst", `select analytics.run_query('popular-courses', '{"since": "last week"}')`],
    ["admin", "select ml.linregr_train('lab.houses', 'lab.model', 'price', 'array[1, tax]; drop table lab.houses')"],
    ["admin", "select ml.linregr_train('', 'lab.model', 'price', 'array[1, tax]')"],
    ["admin", "select ml.linregr_train('lab.houses', 'lab.model', 'area', 'array[1, tax]')"],
    ["admin", "select ml.gbm_train('lab.houses', 'lab.model', 'house_id', 'price', 'tax, bath', num_trees => 0)"],
    ["admin", "select ml.kmeanspp('lab.houses', 'array[tax, bath]', 0)"],
    ["worker", "select monitor.delete_old_runs('1 hour')"],
    ["admin", "select privacy.record_consent(1, 'analytics', null)"],
  ],
  CF002: [
    ["analyst", "select analytics.run_query('popular-corses')"],
    ["admin", "select ml.linregr_train('lab.house', 'lab.model', 'price', 'array[1, tax]')"],
    ["admin", "select ml.linregr_train('lab.houses', 'lab.model', 'pric', 'array[1, tax]')"],
    ["admin", "select ml.pivot('lab.houses', 'lab.model', 'area', 'bath', 'price', 'averag')"],
    ["analyst", "select recommend.similar_items('course-algebr')"],
    ["admin", "select recommend.for_person('ada', kind => 'cours')"],
    ["analyst", "select ml.predict('lab.pric', '{\"tax\": 3}')"],
    ["analyst", "select analytics.course_outlook('dropouts')"],
  ],
  CF003: [
    ["admin", "select ml.linregr_train('lab.houses', 'lab.houses_out', 'price', 'array[1, tax]')"],
    ["admin", "select ml.train_test_split('lab.split_already', 'lab.model', 0.5)"],
  ],
  CF004: [
    ["admin", "select ml.linregr_train('lab.empty', 'lab.model', 'price', 'array[1, tax]')"],
    ["admin", "select ml.kmeanspp('lab.empty', 'array[tax, bath]', 2)"],
    ["admin", "select ml.summary('lab.empty', 'lab.model')"],
    ["admin", "select ml.rollback('lab.price')"],
    ["worker", "select analytics.train_predictions('dropout')"],
  ],
  CF005: [
    ["analyst", "select analytics.drop_query('popular-courses')"],
    ["admin", "select ml.summary('lab.secret', 'lab.model')"],
    ["admin", "select ml.summary('lab.houses', 'track.model')"],
    ["learner", "select track.record_my_consent('analytics', true)"],
  ],
  CF006: [
    ["analyst", "select recommend.similar_items('course-algebra')"],
    ["analyst", "select analytics.course_outlook('dropout')"],
  ],
  CF007: [
    ["admin", "select ml.linregr_train('lab.doubled', 'lab.model', 'price', 'array[1, tax, twice]')"],
    ["admin", "select ml.inverse(array['[1,2]', '[2,4]']::vector[])"],
    ["admin", "select ml.logregr_train('lab.houses', 'lab.model', 'sold', 'array[1, (house_id % 2)]')"],
  ],
  CF008: [
    ["worker", "select track.ingest(to_jsonb(array_fill('{}'::jsonb, array[20000])))"],
    ["analyst", "select recommend.similar_items(repeat('x', 600))"],
    ["analyst", "select analytics.trend('Page Viewed', 'hour', '2020-01-01', '2026-01-01')"],
    ["worker", "select track.make_partitions('0001-01-01', '2026-01-01')"],
    ["admin", "select ml.linregr_train('lab.houses', 'lab.model', 'price', 'array[' || repeat('tax, ', 300) || '1]')"],
  ],
  CF009: [
    ["worker", "select track.ingest('\"[{\"')"],
    ["worker", "select track.ingest('{\"a\": 1}')"],
    [
      "admin",
      "select ml.import_model('lab.rent', 'regression', 'linear', '{\"intercept\": \"one\", \"coefficients\": {}}')",
    ],
    [
      "admin",
      "select ml.import_model('lab.rent', 'regression', 'xgboost', '{\"base_score\": 0.5, \"trees\": [{\"leaf\": \"x\"}]}')",
    ],
  ],
  CF010: [
    ["admin", "select track.sync_items('lab.tree')"],
    [
      "admin",
      `select ml.register_model('lab.price', 'classification', 'linear',
        '{"kind": "linear", "link": "identity", "intercept": 1, "features": [{"name": "tax", "type": "number", "coefficient": 2, "mean": 3}]}')`,
    ],
  ],
};

interface Printed {
  code: string | undefined;
  message: string;
  hint: string | undefined;
}

/** The error of a statement under a role. */
async function attempt([role, statement]: Example): Promise<Printed> {
  return await database.as(`insights_${role}`, {}, async (db) => {
    const error: pg.DatabaseError = await db.rejects(statement);
    return { code: error.code, message: error.message, hint: error.hint };
  });
}

describe("each code", () => {
  test("is raised somewhere, has a meaning, and is described in the house rules", async () => {
    const raised = new Set<string>();
    for await (const path of glob("src/sql/**/*.sql", { cwd: packageRoot })) {
      const sql = await readFile(join(packageRoot, path), "utf8");
      for (const [code] of sql.matchAll(/(?<=refuse\(\s*')CF\d\d\d(?=')/g)) raised.add(code);
    }
    // CF099 is an internal signal that its caller catches.
    raised.delete("CF099");
    expect([...raised].sort()).toEqual(Object.keys(meanings));
    expect(Object.keys(examples)).toEqual(Object.keys(meanings));
    const rules = await readFile(join(packageRoot, "src/sql/README.md"), "utf8");
    for (const [code, meaning] of Object.entries(meanings)) expect(rules).toContain(`| ${code} | ${meaning} |`);
  });

  for (const [code, list] of Object.entries(examples)) {
    test.each(list)(`${code} as %s: %s`, async (...example) => {
      const printed = await attempt(example);
      expect(printed).toMatchObject({ code });
      expect(printed.hint ?? "").toMatch(/^[^\s].*[.?)]$/);
      expect(printed.message).toMatch(/^[^\n]{3,300}$/);
    });
  }

  test("the output", async () => {
    const lines = [
      "# Errors",
      "",
      "Every code that the functions raise, with examples as psql prints them (`\\set VERBOSITY terse` leaves the hint out). The message names the invalid",
      "value, at most 100 characters of it; the hint states what is valid. A statement that ends with one of them has changed nothing.",
      "The tables of the examples are made in `errors.test.ts`, which writes this page.",
      "",
    ];
    for (const [code, list] of Object.entries(examples)) {
      lines.push(`## ${code}: ${meanings[code]}`, "", "```");
      for (const [index, example] of list.entries()) {
        const { message, hint } = await attempt(example);
        if (index > 0) lines.push("");
        lines.push(`${example[0]}=> ${example[1]};`, `ERROR:  ${message}`, `HINT:  ${hint}`);
      }
      lines.push("```", "");
    }
    await expect(lines.join("\n")).toMatchFileSnapshot("README.md");
  });
});

/** Valid values by the name of an argument, so that a call reaches the check of the invalid one. */
const plausible: Record<string, string> = {
  source_table: "'lab.houses'",
  table_in: "'lab.houses'",
  rel_source: "'lab.houses'",
  model_source: "'lab.houses'",
  data_table: "'lab.houses'",
  id_col_name: "'house_id'",
  dependent_varname: "'price'",
  dependent_variable: "'price'",
  independent_varname: "'array[1, tax]'",
  list_of_features: "'tax, bath'",
  expr_point: "'array[tax, bath]'",
  prediction_col: "'tax'",
  observed_col: "'price'",
  time_column: "'sold_at'",
  timeseries_col: "'price'",
  timestamp_col: "'sold_at'",
  project: "'lab.price'",
  kind: "'course'",
  person: "'ada'",
  item: "'course-algebra'",
  event_name: "'Page Viewed'",
  bucket: "'day'",
  inputs: "array(select houses from lab.houses)",
};

interface Signature {
  call: string;
  names: string[];
  types: string[];
  optional: number;
}

test("no error shows more than a part of a long value, whichever argument has it", {
  timeout: 300_000,
}, async () => {
  const signatures = await database.rows<Signature>(`
    select format('%I.%I', namespace.nspname, procedure.proname) as call,
      coalesce(procedure.proargnames, '{}')::text[] as names,
      (select coalesce(array_agg(type::regtype::text order by position), '{}')
       from unnest(procedure.proargtypes) with ordinality as argument (type, position)) as types,
      procedure.pronargdefaults as optional
    from pg_proc as procedure
    join pg_namespace as namespace on namespace.oid = procedure.pronamespace
    where namespace.nspname in ('common', 'ml', 'privacy', 'track', 'experiment', 'analytics', 'recommend', 'monitor')
      and procedure.proname !~ '^_'
      and procedure.prokind = 'f'
      and procedure.prorettype <> 'trigger'::regtype
      and procedure.proname not in ('refuse', 'companion_table')
    order by 1`);
  expect(signatures.length).toBeGreaterThan(130);
  const long = ["repeat('x', 5000)", "repeat('a.', 2500)"];
  const problems: string[] = [];
  let refused = 0;
  for (const { call, names, types, optional } of signatures) {
    for (const [position, type] of types.entries()) {
      if (!["text", "text[]", "jsonb", "regclass"].includes(type)) continue;
      for (const value of long) {
        const given = {
          text: value,
          "text[]": `array[${value}]`,
          jsonb: `to_jsonb(${value})`,
          regclass: `${value}::regclass`,
        }[type];
        const rest = types.map((other, place) => {
          const name = names[place] ?? "";
          if (place === position) return `${name} => ${given}`;
          if (name in plausible && other !== "interval") return `${name} => ${plausible[name]}`;
          if (place >= types.length - optional) return undefined;
          return `${name} => ${other === "text" ? "'lab.made_up'" : "null"}`;
        });
        const statement = `select ${call}(${rest.filter((argument) => argument !== undefined).join(", ")})`;
        await database.as("insights_admin", {}, async (db) => {
          const error: pg.DatabaseError | undefined = await db.rejects(statement).catch(() => undefined);
          if (error === undefined) return;
          if (error.code?.startsWith("CF")) refused++;
          // Messages of the server itself about a cast or a privilege are not checked.
          else if (type !== "regclass" && error.code !== "42501") {
            problems.push(`${call}, ${names[position]} ${value}: ${error.code} ${error.message.slice(0, 150)}`);
          }
          const shown = `${error.message}${error.hint ?? ""}${error.detail ?? ""}`;
          if (error.code?.startsWith("CF") && shown.length > 1000) {
            problems.push(`${call}, ${names[position]} ${value}: ${shown.length} characters`);
          }
        });
      }
    }
  }
  expect(refused).toBeGreaterThan(200);
  expect(problems).toEqual([]);
});
