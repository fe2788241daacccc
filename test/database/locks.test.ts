import { expect, test } from "vitest";
import { describe as describeStatement, kinds, lockModes, locksIn } from "../../src/database/locks.ts";
import { splitStatements } from "../../src/database/statements.ts";
import { testDatabase } from "../support/database.ts";

const database = await testDatabase();

/* The mode of a lock in the words of the manual, from the name in pg_locks, as in AccessExclusiveLock. */
const words = (mode: string): string =>
  mode
    .replace(/Lock$/, "")
    .replace(/(?<=[a-z])(?=[A-Z])/g, " ")
    .toUpperCase();

const setup = `
  create schema here;
  create table here.other (id int primary key, value text);
  create table here.plain (id int primary key, value text, constraint positive check (id > 0), constraint later check (id < 9) not valid);
  create table here.big (id int not null, at date not null, value text) partition by range (at);
  create table here.big_one partition of here.big for values from ('2026-01-01') to ('2026-02-01');
  create table here.loose (like here.big);
  create index plain_value on here.plain (value);
  create index big_value on here.big (value);
  create sequence here.sequence;
  create view here.view as select id from here.plain;
  create materialized view here.kept as select id from here.plain;
  create unique index kept_id on here.kept (id);
  create policy there on here.plain for select using (true);
  create type here.pair as (a int, b int);
  create type here.mood as enum ('good');
  create function here.one() returns int language sql return 1;
  create function here.quiet() returns trigger language plpgsql as 'begin return new; end';
  create aggregate here.total (int) (sfunc = int4pl, stype = int);
  create trigger there before insert on here.plain for each row execute function here.quiet();
`;

/** Examples of each kind of statement; at least one. */
const examples: Record<string, string[]> = {
  "create function": [
    "create or replace function here.one() returns int language sql return 2",
    "create function here.rows() returns setof here.plain language plpgsql stable as $$ begin return query select * from here.plain; end; $$",
    "create procedure here.nothing() language plpgsql as $$ begin null; end; $$",
  ],
  "create aggregate": ["create or replace aggregate here.total (int) (sfunc = int4pl, stype = int, initcond = '1')"],
  "alter function": ["alter function here.one() owner to insights_owner"],
  "drop function": ["drop function if exists here.one()"],
  "comment on function": ["comment on function here.one() is $$It's one.$$"],
  "grant on function": [
    "grant execute on function here.one() to insights_worker",
    "revoke execute on function here.one() from public",
  ],
  "grant on schema": ["grant usage on schema here to insights_worker"],
  "grant on table": [
    "grant select on here.plain, here.big to insights_worker",
    "grant update (value) on here.plain to insights_worker",
    "revoke select on here.plain from insights_worker",
  ],
  "grant role": ["grant insights_worker to insights_admin"],
  "alter default privileges": ["alter default privileges revoke execute on functions from public"],
  "create schema": ["create schema there"],
  "create type": [
    "create type here.other_pair as (a int)",
    "create domain here.short as text check (length(value) < 9)",
  ],
  "create operator": ["create operator here.+! (leftarg = int, rightarg = int, function = int4pl)"],
  "alter type": ["alter type here.mood add value 'bad'"],
  "alter composite type": ["alter type here.pair add attribute c int"],
  "drop type": ["drop type here.pair"],
  "comment on schema": ["comment on schema here is 'x'", "comment on type here.pair is 'x'"],
  "create partition": [
    "create table here.big_two partition of here.big for values from ('2026-02-01') to ('2026-03-01')",
  ],
  "create table": [
    "create table here.fresh (id int primary key)",
    "create table if not exists here.child (id int references here.plain, other int references here.other (id))",
  ],
  "create temporary table": ["create temporary table fleeting (id int)"],
  "attach partition": [
    "alter table here.big attach partition here.loose for values from ('2026-05-01') to ('2026-06-01')",
  ],
  "validate constraint": ["alter table here.plain validate constraint later"],
  "alter table set parameters": [
    "alter table here.plain set (fillfactor = 90)",
    "alter table here.plain reset (fillfactor)",
  ],
  "alter table set statistics": ["alter table here.plain alter column value set statistics 200"],
  "add foreign key": [
    "alter table here.plain add constraint to_other foreign key (id) references here.other (id) not valid",
    "alter table here.plain add foreign key (id) references here.other",
  ],
  "enable trigger": ["alter table here.plain disable trigger there"],
  "alter columns": [
    "alter table here.plain add column fresh text",
    "alter table here.plain add column other int references here.other",
    "alter table here.plain drop column value",
    "alter table here.plain alter column value set not null",
    "alter table here.plain add constraint short check (length(value) < 9)",
    "alter table here.plain drop constraint positive",
    "alter table here.plain rename column value to text",
    "alter table here.big add column if not exists fresh text",
    "alter table here.big alter column value set default 'x'",
  ],
  "alter table": [
    "alter table here.plain enable row level security",
    "alter table here.big enable row level security",
    "alter table here.plain owner to insights_owner",
    "alter table here.plain rename to simple",
    "alter view here.view owner to insights_owner",
  ],
  "drop table": ["drop table here.other", "drop view here.view", "drop table here.big", "drop sequence here.sequence"],
  "drop index": ["drop index here.plain_value", "drop index if exists here.big_value"],
  truncate: ["truncate here.other", "truncate table here.big"],
  "comment on column": ["comment on column here.plain.value is $$It's text.$$"],
  "comment on table": [
    "comment on table here.plain is 'x'",
    "comment on view here.view is 'x'",
    "comment on index here.plain_value is 'x'",
  ],
  "comment on a part of a table": [
    "comment on policy there on here.plain is 'x'",
    "comment on trigger there on here.plain is 'x'",
    "comment on constraint positive on here.plain is 'x'",
  ],
  "create policy": [
    "create policy own on here.plain for select to insights_learner using (id in (select id from here.other))",
    "create policy own on here.big for select using (true)",
    "alter policy there on here.plain using (false)",
  ],
  "drop policy": ["drop policy if exists there on here.plain"],
  "create trigger": [
    "create or replace trigger there before insert on here.plain for each row execute function here.quiet()",
    "create trigger again before insert or update of value on here.plain for each row execute function here.quiet()",
  ],
  "drop trigger": ["drop trigger there on here.plain"],
  "replace view": ["create or replace view here.view as select id from here.plain where id > 1"],
  "create view": [
    "create view here.fresh as select id from here.plain",
    "create materialized view if not exists here.fresh_kept as select id from here.plain",
  ],
  "refresh concurrently": ["refresh materialized view concurrently here.kept"],
  refresh: ["refresh materialized view here.kept"],
  "create index on only": ["create index big_id on only here.big (id)"],
  "create index": [
    "create index plain_id on here.plain (id)",
    "create unique index if not exists plain_both on here.plain (id, value)",
    "create index big_id on here.big (id)",
    "create index on here.plain using brin (id)",
  ],
  "create statistics": ["create statistics here.both on id, value from here.plain"],
  "create sequence": ["create sequence here.another"],
  insert: ["insert into here.plain values (1, 'x')", "insert into here.plain select 2, value from here.other"],
  update: ["update here.plain set value = 'y'"],
  delete: ["delete from here.plain where id = 1"],
  set: ["set local lock_timeout to 1"],
  do: ["do $$ begin execute 'alter table here.plain add column unseen int'; end; $$"],
};

test("each kind of statement has an example", () => {
  expect(Object.keys(examples).sort()).toEqual([...new Set(kinds.map(({ name }) => name))].sort());
});

test.each(
  Object.entries(examples).flatMap(([kind, statements]) => statements.map((statement) => [kind, statement] as const)),
)("%s: %s", async (kind, sql) => {
  const client = await database.pool.connect();
  try {
    await client.query("begin");
    await client.query(setup);
    const [statement] = splitStatements(sql);
    if (statement === undefined) throw new Error("no statement");
    const described = describeStatement(statement);
    expect(described.kind).toBe(kind);
    // Locks of the setup are not of interest, so its transaction must end first. All objects are in a schema of their
    // own.
    await client.query("commit; begin");
    const relations = `
      select class.oid::regclass::text as relation from pg_class as class
      where class.relnamespace = 'here'::regnamespace and class.relkind in ('r', 'p', 'v', 'm', 'i', 'I', 'c', 'S')`;
    const existing = new Set(
      ((await client.query(relations)).rows as { relation: string }[]).map((row) => row.relation),
    );
    const said = new Map<string, string>();
    for (const { relation, mode, partitions } of await locksIn(client, described.locks)) {
      said.set(relation, mode);
      if (partitions > 0 && relation === "here.big") said.set("here.big_one", mode);
    }
    const names = new Map(
      (
        (await client.query("select oid::int8::text, oid::regclass::text as relation from pg_class")).rows as {
          oid: string;
          relation: string;
        }[]
      ).map(({ oid, relation }) => [oid, relation]),
    );
    await client.query(sql);
    const { rows } = (await client.query(
      "select relation::int8::text as oid, mode from pg_locks where pid = pg_backend_pid() and locktype = 'relation' and granted",
    )) as { rows: { oid: string; mode: string }[] };
    const measured = new Map<string, string>();
    const rank = (mode: string): number => lockModes.indexOf(mode as (typeof lockModes)[number]);
    for (const { oid, mode } of rows) {
      const relation = names.get(oid) ?? "";
      const name = words(mode);
      if (!existing.has(relation) || rank(name) < rank("ROW EXCLUSIVE")) continue;
      if (rank(name) > rank(measured.get(relation) ?? "ACCESS SHARE")) measured.set(relation, name);
    }
    if (described.known) {
      // Indexes are locked with their table; they are listed only if they are dropped themselves.
      const indexes = [...measured.keys()].filter(
        (relation) => /_(?:value|pkey|id|idx)$/.test(relation) && !said.has(relation),
      );
      for (const index of indexes) measured.delete(index);
      expect(Object.fromEntries(measured)).toEqual(Object.fromEntries(said));
    } else {
      expect([...measured.keys()].length).toBeGreaterThan(0);
    }
  } finally {
    await client.query("rollback; drop schema if exists here cascade; drop schema if exists there cascade");
    client.release();
  }
});

test("statements are split as in psql", () => {
  const sql = `
    -- a comment; with a semicolon
    select 'a;b', "c;d", $$e;'f$$, $x$ $$ ; $x$, E'g\\';h' /* i; /* nested; */ ; */;
    create function f() returns int language sql begin atomic
      select 1; select case when true then 1 else 2 end;
    end;
    create rule r as on insert to t do also (select 1; select 2);
    do $body$ begin perform 1; end; $body$;
    select 1`;
  const statements = splitStatements(sql);
  expect(statements.map(({ normal }) => normal.slice(0, 20))).toEqual([
    "select 'a;b', \"c;d\",",
    "create function f() ",
    "create rule r as on ",
    "do $body$ begin perf",
    "select 1",
  ]);
  expect(statements.map(({ line }) => line)).toEqual([3, 4, 7, 8, 9]);
  expect(() => splitStatements("select 1;\nselect $a$ never ends")).toThrow("line 2");
});
