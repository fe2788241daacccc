import { beforeAll, describe, expect, test } from "vitest";
import { testDatabase } from "../support/database.ts";

/*
 * Relations that the worker reads on schedule by a name that another role gave. An administrator trained a model on a
 * table of an analyst, who then replaces it with her own code. Reading a relation runs the code of its owner, even of a
 * plain table: its indexes, statistics and partition keys have expressions that the planner evaluates. `lab.evil()`
 * counts, in a sequence that a rollback does not undo, when it runs as another user than her.
 */

const database = await testDatabase();
const attacker = "insights_analyst";

const kinds: Record<string, string> = {
  "a view": `
    drop table lab.house;
    create view lab.house as select house_id, lab.evil(size::int)::float8 as size, price from lab.real;`,
  "an index": "create index on lab.house ((lab.evil(1) + house_id));",
  "a partial index": "create index on lab.house (house_id) where house_id > lab.evil(0);",
  "extended statistics":
    "create statistics lab.extended on (lab.evil(1) + house_id), size from lab.house; analyze lab.house;",
  "a row policy": `
    alter table lab.house enable row level security;
    create policy trap on lab.house using (lab.evil(1) = 1);`,
  "a partition key": `
    drop table lab.house;
    create table lab.house (house_id int, size float8, price float8) partition by range ((lab.evil(0) + house_id));
    create table lab.part partition of lab.house for values from (0) to (1000);
    insert into lab.house select * from lab.real;`,
};

const ran = (): Promise<number> =>
  database.value("select case when is_called then last_value else 0 end::int from lab.ran");
const watched = (role: string): Promise<{ project: string; left_out: string | null; hint: string | null }[]> =>
  database.as(role, {}, (db) => db.rows("select project, left_out, hint from ml._watched() order by 1"));

async function measuredBy(role: string): Promise<string[]> {
  return await database.as(role, {}, (db) =>
    db.value<string[]>(
      `select coalesce(array_agg(distinct project.name::text), '{}')
       from ml.watch_models() join ml.model using (model_id) join ml.project using (project_id)`,
    ),
  );
}

beforeAll(async () => {
  await database.query(`
    create schema lab authorization ${attacker};
    grant usage on schema lab to public;
    set role ${attacker};
    create sequence lab.ran;
    create function lab.evil(value int) returns int language plpgsql immutable as $$
    begin
      if current_user <> '${attacker}' then
        perform nextval('lab.ran');
      end if;
      return value;
    end $$;
    create table lab.real as select i as house_id, (i % 7)::float8 as size, (i * 3)::float8 as price from generate_series(1, 200) as i;
    create table lab.house as select * from lab.real;
    grant all on all tables in schema lab to public;
    grant all on lab.ran to public;
    set role insights_admin;
    select ml.train('lab.price', 'regression', 'lab.house', 'house_id', 'price', algorithm => 'linregr');
    reset role`);
});

describe.each(Object.entries(kinds))("%s of another role's", (_, attack) => {
  beforeAll(async () => {
    await database.query(`
      set role ${attacker};
      do $$ begin execute format('drop %s lab.house cascade', case (select relkind from pg_class where oid = 'lab.house'::regclass) when 'v' then 'view' else 'table' end); end $$;
      create table lab.house as select * from lab.real;
      ${attack}
      grant all on lab.house to public;
      reset role`);
  });

  test("runs with the rights of its reader", async () => {
    const before = await ran();
    await database.as("insights_worker", {}, (db) => db.query("select sum(size) from lab.house where house_id < 5"));
    expect(await ran()).toBeGreaterThan(before);
  });

  test.each(["insights_worker", "insights_admin"])("does not run when %s watches the models", async (role) => {
    const before = await ran();
    expect(await measuredBy(role)).toEqual([]);
    expect(await ran()).toBe(before);
    expect(await watched(role)).toMatchObject([
      {
        project: "lab.price",
        left_out: expect.stringContaining(`belongs to "${attacker}"`),
        hint: expect.stringContaining("ml.measure_drift('lab.price', 'lab.house')"),
      },
    ]);
  });
});

describe("a table is read", () => {
  beforeAll(async () => {
    await database.query(`
      drop table lab.house;
      create table lab.house as select * from lab.real;
      grant select on lab.house to public`);
  });

  test("not while another role may replace it", async () => {
    expect(await measuredBy("insights_worker")).toEqual([]);
    expect(await watched("insights_worker")).toMatchObject([{ left_out: expect.stringContaining(attacker) }]);
  });

  test.each(["insights_owner", "insights_worker", "postgres"])(
    "when it belongs to %s, with its schema",
    async (owner) => {
      await database.query(`alter table lab.house owner to ${owner}; alter schema lab owner to ${owner};
      grant usage on schema lab to public; grant select on lab.house to public`);
      expect(await measuredBy("insights_worker")).toEqual(["lab.price"]);
    },
  );

  test("by an administrator only if its owner can become her", async () => {
    await database.query("alter table lab.house owner to insights_worker; alter schema lab owner to insights_worker");
    expect(await measuredBy("insights_admin")).toEqual([]);
    await database.query("alter table lab.house owner to insights_admin; alter schema lab owner to insights_admin");
    expect(await measuredBy("insights_admin")).toEqual(["lab.price"]);
    expect(await measuredBy("insights_worker")).toEqual([]);
  });
});

test("functions in a schema of the caller's path are not found", async () => {
  await database.query(`
    alter table lab.house owner to insights_owner;
    alter schema lab owner to insights_owner;
    grant usage on schema lab to public;
    grant create on schema public to ${attacker};
    set role ${attacker};
    -- Nearer to the arguments than the one of PostgreSQL, which takes any type.
    create function public.width_bucket(float8, float8[]) returns int language plpgsql immutable as $$
    begin
      return pg_catalog.width_bucket($1, $2) + 0 * lab.evil(1);
    end $$;
    reset role`);
  const before = await ran();
  await database.as("insights_worker", {}, (db) =>
    db.query("select width_bucket(size, array[1.0::float8]) from lab.house where house_id < 5"),
  );
  const reached = await ran();
  expect(reached).toBeGreaterThan(before);
  expect(await measuredBy("insights_worker")).toEqual(["lab.price"]);
  expect(await ran()).toBe(reached);
  await database.query(
    `drop function public.width_bucket(float8, float8[]); revoke create on schema public from ${attacker}`,
  );
});

test("a model stores its source with its schema", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await db.query("set local search_path to lab");
    await db.query(
      "select ml.train('lab.unqualified', 'regression', 'house', 'house_id', 'price', algorithm => 'linregr')",
    );
    expect(await db.value("select (ml._version('lab.unqualified')).parameters ->> 'source_table'")).toBe("lab.house");
  });
});

test("a source in a schema that the watcher may not use does not prevent others from being watched", async () => {
  await database.query("alter table lab.house owner to insights_owner; alter schema lab owner to insights_owner");
  await database.query("revoke usage on schema lab from public");
  expect(await measuredBy("insights_worker")).toEqual([]);
  expect(await watched("insights_worker")).toMatchObject([
    { left_out: expect.stringContaining("may not use the schema") },
  ]);
  await database.query("grant usage on schema lab to public");
});

test.each(["a.b.c.d", '"x', '{"a": 1}', "", "x y", "lab.gone"])(
  "a source that is called %s does not prevent others from being watched",
  async (source) => {
    await database.query("alter table lab.house owner to insights_owner; alter schema lab owner to insights_owner");
    await database.as("insights_worker", {}, async (db) => {
      await db.query(
        `select ml.deploy('a.bad', ml.register_model(
           'a.bad', 'regression', 'x', '{"kind": "linear", "link": "identity", "intercept": 1, "features": []}',
           parameters => jsonb_build_object('source_table', $1::text)))`,
        [source],
      );
      expect(await db.rows("select project, left_out from ml._watched() order by 1")).toEqual([
        { project: "a.bad", left_out: expect.stringContaining("there is no table") },
        { project: "lab.price", left_out: null },
      ]);
      expect(await db.value("select count(*)::int from ml.watch_models()")).toBeGreaterThan(0);
    });
  },
);
