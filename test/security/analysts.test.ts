import { expect, test } from "vitest";
import { makeCanary, makeCanaryWorld } from "../support/canary.ts";
import { testDatabase } from "../support/database.ts";

/*
 * Analysts see no name and no key of a person, in no table, view and result of a function: data sets about single people
 * are made for them with pseudonyms.
 */
const database = await testDatabase();

const rooms = "('privacy', 'track', 'experiment', 'ml', 'analytics', 'recommend', 'monitor')";

/** Columns that the map declares as names or keys of people, or that are named like them. */
const identifying =
  "person_id|identity_id|identities|external_id|anonymous_id|user_id|subject_name|person|people|keys?";

/** Columns with these names that hold none. */
const declared: Record<string, string> = {
  "analytics.annotation.created_by": "the author of an annotation, a colleague",
  "analytics.saved_query.created_by": "the author of a query, a colleague",
  "analytics.saved_view.created_by": "the author of a view that is shared, a colleague",
  "analytics.saved_query.arguments": "queries of functions that the analyst may execute, which take no person",
  "recommend.evaluation_comparison.people": "a number of people",
  "recommend.evaluation_result.people": "a number of people",
  "track.item.external_id": "the name of an item",
  "track.placeholder_id.external_id": "ids that name nobody",
};

/** Functions with these names that return none. */
const functions: Record<string, string> = {
  "analytics.active_people: people": "numbers of people",
  "experiment._health_shown: people": "numbers of people",
  "experiment._result_days_shown: people": "numbers of people",
  "experiment._results_shown: people": "numbers of people",
  "experiment._sticky_experiment_key: key": "the key of an experiment",
  "experiment._sticky_key: key": "the key of an experiment",
  "experiment.decision: people": "numbers of people",
  "experiment.health: people": "numbers of people",
  "experiment.result_days: people": "numbers of people",
  "experiment.results: people": "numbers of people",
  "ml._float8_sums: key": "the groups of a relation that the caller reads with her own rights",
  "ml._numeric_sums: key": "the groups of a relation that the caller reads with her own rights",
  "ml._sums: key": "the groups of a relation that the caller reads with her own rights",
  "recommend._score_people: people": "fills a temporary table of the caller",
  "track.current_person_id: person_id": "the key of the caller herself, null for others than learners",
};

test("no table or view that an analyst may read has a column with names or keys of people", async () => {
  const columns = await database.rows<{ name: string }>(
    `select format('%s.%s.%s', namespace.nspname, class.relname, attribute.attname) as name
     from pg_class as class
     join pg_namespace as namespace on namespace.oid = class.relnamespace
     join pg_attribute as attribute on attribute.attrelid = class.oid and attnum > 0 and not attisdropped
     left join privacy.data_map
       on (schema_name, table_name, column_name) = (namespace.nspname, class.relname, attribute.attname)
     where namespace.nspname in ${rooms}
       and class.relkind in ('r', 'p', 'v', 'm')
       and has_column_privilege('insights_analyst', class.oid, attribute.attnum, 'select')
       and (data_map.holds in ('person', 'identity', 'traits') or attribute.attname ~ '^(${identifying})$')
     order by 1`,
  );
  expect(columns.map(({ name }) => name)).toEqual(Object.keys(declared).sort());
});

test("no function that an analyst may execute returns such a column", async () => {
  const returned = await database.rows<{ name: string }>(
    `select distinct format('%s.%s: %s', namespace.nspname, function.proname, returned.name) as name
     from pg_proc as function
     join pg_namespace as namespace on namespace.oid = function.pronamespace
     cross join lateral (
       select attribute.attname as name
       from pg_attribute as attribute
       where attribute.attrelid = (select typrelid from pg_type where oid = function.prorettype) and attnum > 0

       union all

       select argument.name
       from unnest(function.proargnames, function.proargmodes) as argument (name, mode)
       where argument.mode in ('o', 'b', 't')

       union all

       select substring(function.proname from '(?:${identifying})$')
     ) as returned
     where namespace.nspname in ${rooms}
       and has_function_privilege('insights_analyst', function.oid, 'execute')
       and returned.name ~ '^(${identifying})$'
     order by 1`,
  );
  expect(returned.map(({ name }) => name)).toEqual(Object.keys(functions));
});

test("no row that an analyst can read contains the word of a person", async () => {
  await makeCanaryWorld(database);
  await makeCanary(database, "kanari");
  await database.as("insights_analyst", {}, async (db) => {
    const tables = await db.rows<{ name: string; column: string }>(
      `select format('%I.%I', namespace.nspname, class.relname) as name, attribute.attname as column
       from pg_class as class
       join pg_namespace as namespace on namespace.oid = class.relnamespace
       join pg_attribute as attribute on attribute.attrelid = class.oid and attnum > 0 and not attisdropped
       where namespace.nspname in ${rooms} and class.relkind in ('r', 'p', 'v', 'm')
         and has_column_privilege(class.oid, attribute.attnum, 'select')
       order by 1, 2`,
    );
    expect(tables.length).toBeGreaterThan(100);
    const found: string[] = [];
    for (const { name, column } of tables) {
      const place = `${name}.${column}`;
      if (place in declared && declared[place]?.endsWith("colleague")) continue;
      const { count } = (
        await db.rows<{ count: number }>(
          `select count(*)::int as count from ${name} where "${column}"::text ~ 'kanari-(user|browser|previous|claimed|visitor|email|name)'`,
        )
      )[0] ?? { count: 0 };
      if (count > 0) found.push(place);
    }
    expect(found).toEqual([]);
  });
});

test("what an analyst can do with the key of a person is nothing", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    for (const sql of [
      "select privacy.pseudonym(1)",
      "select privacy.reidentify(repeat('a', 32))",
      "select * from ml.embedding",
      "select * from ml.score",
      "select ml.nearest('known', 'ada', 5, null)",
      "select track.find_person('ada')",
    ])
      expect(await db.rejects(sql), sql).toMatchObject({ code: "42501" });
  });
});
