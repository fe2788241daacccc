import { readFileSync } from "node:fs";
import { glob } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { rooms } from "../../src/database/catalogue.ts";
import { packageRoot } from "../../src/paths.ts";
import { type Queries, testDatabase } from "../support/database.ts";

/*
 * The rules of the schema, read from the catalogue. Each query returns the violations, so that a failure shows what to fix.
 */
const database = await testDatabase();

/** The violations of a rule: the column `offender` of its query. */
async function offenders(sql: string, db: Queries = database): Promise<string[]> {
  const rows = await db.rows<{ offender: string }>(`
    with room as (${rooms}),

    relation as (
      select class.*, format('%I.%I', room.nspname, class.relname) as name, room.nspname
      from pg_catalog.pg_class as class
      join room on room.oid = class.relnamespace
    ),

    function as (
      select procedure.*, procedure.oid::regprocedure::text as name, room.nspname, language.lanname
      from pg_catalog.pg_proc as procedure
      join room on room.oid = procedure.pronamespace
      join pg_catalog.pg_language as language on language.oid = procedure.prolang
    ),

    description as (
      select 'schema ' || room.nspname as name, obj_description(room.oid, 'pg_namespace') as comment
      from room
      union all
      select case relation.relkind when 'v' then 'view ' when 'm' then 'materialized view ' when 'c' then 'type ' else 'table ' end
        || relation.name, coalesce(obj_description(relation.oid, 'pg_class'), obj_description(relation.reltype, 'pg_type'))
      from relation
      where relation.relkind in ('r', 'p', 'v', 'm', 'c')
        and not relation.relispartition
      union all
      select format('column %s.%I', relation.name, attribute.attname), col_description(relation.oid, attribute.attnum)
      from relation
      join pg_catalog.pg_attribute as attribute on attribute.attrelid = relation.oid
      where relation.relkind in ('r', 'p', 'v', 'm', 'c')
        and not relation.relispartition
        and attribute.attnum > 0
        and not attribute.attisdropped
      union all
      select 'function ' || function.name, obj_description(function.oid, 'pg_proc')
      from function
      union all
      select format('type %I.%I', room.nspname, type.typname), obj_description(type.oid, 'pg_type')
      from pg_catalog.pg_type as type
      join room on room.oid = type.typnamespace
      where type.typtype in ('d', 'e', 'r')
    )

    ${sql}
  `);
  return rows.map(({ offender }) => offender).sort();
}

async function expectNone(sql: string): Promise<void> {
  const names = await offenders(sql);
  expect(names, names.join("\n")).toEqual([]);
}

const applications =
  "'insights_visitor', 'insights_learner', 'insights_instructor', 'insights_analyst', 'insights_admin', 'insights_worker'";

test("the rooms are those of the design", async () => {
  const schemas = (await database.rows<{ nspname: string }>(rooms)).map(({ nspname }) => nspname);
  const designed = ["common", "ml", "privacy", "track", "experiment", "analytics", "recommend", "monitor"];
  expect(schemas.filter((name) => !designed.includes(name))).toEqual([]);
});

describe("descriptions", () => {
  test("every object has a comment", async () => {
    await expectNone("select name as offender from description where coalesce(btrim(comment, E' \\n'), '') = ''");
  });

  test("a smart tag never follows the description, where it would be published as text", async () => {
    await expectNone(`
        select description.name as offender
        from description
        where exists (
          select
          from regexp_split_to_table(btrim(description.comment, E' \\n'), '\\n') with ordinality as line (text, number)
          where line.text ~ '^\\s*@'
            and exists (
              select
              from regexp_split_to_table(btrim(description.comment, E' \\n'), '\\n') with ordinality as before (text, number)
              where before.number < line.number
                and before.text !~ '^\\s*@'
            )
        )
      `);
  });

  test("the first line is a sentence", async () => {
    await expectNone(`
        select description.name as offender
        from description
        cross join lateral (
          select line.text
          from regexp_split_to_table(btrim(description.comment, E' \\n'), '\\n') with ordinality as line (text, number)
          where line.text !~ '^\\s*@'
          order by line.number
          limit 1
        ) as first
        where first.text !~ '[.:?)]\\s*$'
      `);
  });
});

describe("functions", () => {
  test("functions named by a verb of change are volatile", async () => {
    await expectNone(`
        select function.name as offender
        from function
        where function.proname ~ ('^(train|refresh|ingest|rebuild|sync|link|unlink|record|start|finish|fail|make|create|drop'
            || '|deploy|rollback|import|unassign|serve|erase|forget|anonymize|enqueue|retire|vacuum)(_|$)')
          and function.provolatile <> 'v'
          and function.prokind in ('f', 'p')
      `);
  });

  test("no body is more volatile than its function is declared, which would keep the planner from inlining it", async () => {
    const moreVolatile = `
      , called as (
        select function.oid, match[1]::oid as called
        from function
        cross join lateral regexp_matches(
          function.prosqlbody::text, ':(?:opfuncid|funcid|aggfnoid|winfnoid) (\\d+)', 'g'
        ) as match
        union
        -- A cast by way of text calls the input function of the type.
        select function.oid, type.typinput
        from function
        cross join lateral regexp_matches(
          function.prosqlbody::text, ':resulttype (\\d+) :resultcollid \\d+ :coerceformat', 'g'
        ) as match
        join pg_catalog.pg_type as type on type.oid = match[1]::oid
      )

      select distinct format('%s is %s, and calls %s', function.name, function.provolatile, called.called::regprocedure)
        as offender
      from called
      join function on function.oid = called.oid
      join pg_catalog.pg_proc as procedure on procedure.oid = called.called
      where strpos('isv', procedure.provolatile::text) > strpos('isv', function.provolatile::text)
    `;
    await expectNone(moreVolatile);
    // The rule finds an expression and a cast: both depend on the time zone of the session.
    await database.as("insights_owner", {}, async (db) => {
      await db.query(`
        create function track.an_epoch(at timestamptz) returns float8 immutable return date_part('epoch', at);
        create function track.a_cast(at text) returns timestamptz immutable return at::timestamptz;
      `);
      expect((await offenders(moreVolatile, db)).map((name) => name.replace(/\(.*/, ""))).toEqual([
        "track.a_cast",
        "track.an_epoch",
      ]);
    });
  });

  /** Functions whose names are looked up at run time, with the search_path of their caller. */
  const unpinned = `
    select function.*
    from function
    where (function.prosecdef or function.lanname <> 'sql' or function.prosqlbody is null)
      and function.prokind in ('f', 'p')
      and not coalesce(function.proconfig, '{}') && array[
        'search_path=pg_catalog, pg_temp',
        (
          select format('search_path=%I, pg_temp', namespace.nspname)
          from pg_catalog.pg_extension as extension
          join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
          where extension.extname = 'vector'
        )
      ]
  `;

  test("a fixed search_path wherever names are looked up at run time, but for the names that a caller gives", async () => {
    const rows = await database.rows<{ name: string }>(`
      with room as (${rooms}),
      function as (
        select procedure.*, procedure.oid::regprocedure::text as name, language.lanname
        from pg_catalog.pg_proc as procedure
        join room on room.oid = procedure.pronamespace
        join pg_catalog.pg_language as language on language.oid = procedure.prolang
      )
      select name from (${unpinned}) as function
    `);
    const names = rows.map(({ name }) => `${name}\n`).sort();
    await expect(names.join("")).toMatchFileSnapshot("callers_path.txt");
  });

  test("what keeps the caller's search_path is an invoker of common, ml or recommend that resolves a name of the caller, itself or through another", async () => {
    await expectNone(`
        , kept as (${unpinned}),

        body as (
          select function.proname, function.nspname,
            coalesce(pg_get_function_sqlbody(function.oid), function.prosrc) as text,
            pg_get_function_arguments(function.oid) ~ '\\mregclass\\M'
            or function.prosrc ~* '\\mexecute\\M|\\mto_reg(class|proc|type)\\M|::reg(class|type)\\M' as resolves
          from function
          where function.nspname in ('common', 'ml', 'recommend')
        ),

        reader as (
          with recursive reader (proname) as (
            select body.proname from body where body.resolves
            union
            select body.proname
            from reader
            -- The first condition is fast, and leaves few for the second.
            join body on strpos(body.text, format('.%s(', reader.proname)) > 0
              and body.text ~ format('\\m(common|ml|recommend)\\.%s\\(', reader.proname)
          )
          select proname from reader
        )

        select kept.name as offender
        from kept
        where kept.prosecdef
          or kept.nspname not in ('common', 'ml', 'recommend')
          or not exists (select from reader where reader.proname = kept.proname)
      `);
  });

  test("no function names the schema of pgvector, which differs between installations", async () => {
    await expectNone(
      "select function.name as offender from function where function.prosrc ~ '\\mpublic\\s*\\.\\s*(vector|halfvec|sparsevec|[<+*|-])'",
    );
  });

  test("nobody may call a function without a grant", async () => {
    await expectNone(`
        select function.name as offender
        from function
        cross join lateral aclexplode(coalesce(function.proacl, acldefault('f', function.proowner))) as privilege
        where privilege.grantee = 0
      `);
  });

  test("no argument of an application's function has a name that pagination takes", async () => {
    await expectNone(`
        select distinct function.name as offender
        from function
        cross join lateral unnest(function.proargnames) as argument
        cross join unnest(array[${applications}]) as role
        where lower(replace(argument, '_', '')) in ('first', 'last', 'before', 'after', 'offset', 'condition', 'filter', 'orderby')
          and has_function_privilege(role, function.oid, 'execute')
          -- GrowthBook's name. The function returns no set, and so has no pagination: test/api/features.test.ts calls it.
          and function.name <> 'experiment.eval_condition(jsonb,jsonb,jsonb)'
      `);
  });

  test("no application's function is overloaded or variadic, which the API cannot expose", async () => {
    await expectNone(`
        select function.name as offender
        from function
        where exists (
            select from unnest(array[${applications}]) as role where has_function_privilege(role, function.oid, 'execute')
          )
          and function.prokind = 'f'
          and (
            function.provariadic <> 0
            or exists (
              select
              from function as other
              where other.proname = function.proname
                and other.pronamespace = function.pronamespace
                and other.oid <> function.oid
            )
          )
      `);
  });

  test("the functions that run with the rights of their owner are known", async () => {
    const rows = await database.rows<{ line: string }>(`
      with room as (${rooms})
      select format('%s  as %s', procedure.oid::regprocedure, pg_get_userbyid(procedure.proowner)) as line
      from pg_catalog.pg_proc as procedure
      join room on room.oid = procedure.pronamespace
      where procedure.prosecdef
    `);
    await expect(
      `${rows
        .map(({ line }) => line)
        .sort()
        .join("\n")}\n`,
    ).toMatchFileSnapshot("definers.txt");
  });

  test("none of them takes a relation, a function or a type of its caller's", async () => {
    await expectNone(`
        select function.name as offender
        from function
        cross join lateral unnest(function.proargtypes || coalesce(function.proallargtypes, '{}')) as argument
        join pg_catalog.pg_type as type on type.oid = argument
        where function.prosecdef
          and (
            type.typtype = 'p' and type.typname <> 'trigger'
            or type.typname ~ '^reg'
            or type.typnamespace <> 'pg_catalog'::regnamespace
              and type.typnamespace not in (select oid from room)
              and not exists (select from pg_catalog.pg_depend where objid in (type.oid, type.typelem) and deptype = 'e')
          )
      `);
  });

  test("none of them shows its caller the plans of its statements, with the values in them", async () => {
    await expectNone(`
        select function.name as offender
        from function
        where function.prosecdef
          and not exists (
            select
            from unnest(function.proconfig) as setting
            where setting in ('client_min_messages=notice', 'client_min_messages=warning')
          )
      `);
  });

  test("what is behind a definer of insights_reader, with a floor as an argument, is for no caller", async () => {
    await expectNone(`
        select distinct format('%s by %s', function.name, role) as offender
        from function
        cross join unnest(array['insights_visitor', 'insights_learner', 'insights_instructor', 'insights_analyst']) as role
        where function.nspname = 'analytics'
          and not function.prosecdef
          and (function.proname ~ '^_' or 'smallest_group' = any (function.proargnames))
          and has_function_privilege(role, function.oid, 'execute')
      `);
    const kernels = await database.rows<{ call: string }>(`
      select format('analytics.%I(%s)', proname, array_to_string(array(
        -- A strict function is not called with null.
        select format('%L::%s', case when proisstrict then '0' end, format_type(type, null))
        from unnest(proargtypes) as type
      ), ', ')) as call
      from pg_catalog.pg_proc
      where pronamespace = 'analytics'::regnamespace
        and proname ~ '^_'
        and prokind = 'f'
        and not (prosecdef and proname ~ '_shown$')
    `);
    expect(kernels.length).toBeGreaterThan(5);
    await database.as("insights_analyst", {}, async (db) => {
      for (const { call } of kernels) {
        expect(await db.rejects(`select * from ${call}`), call).toMatchObject({ code: "42501" });
      }
    });
  });

  test("the source of each of them states the reason, above it or in its contract", async () => {
    const silent: string[] = [];
    let definers = 0;
    for await (const file of glob("src/sql/**/*.sql", { cwd: packageRoot })) {
      // From the end of one statement to the body of the next function: its comment and its contract.
      for (const [text, name] of readFileSync(join(packageRoot, file), "utf8").matchAll(
        /^(?:\/\*(?:(?!\*\/)[\s\S])*\*\/\n)?create or replace function ([\w.]+)[\s\S]*?\n(?:as \$|begin atomic)/gm,
      )) {
        if (!/^security definer$/m.test(text)) continue;
        definers += 1;
        if (!/^\/\*[\s\S]*[Aa] definer\b|^-- A definer: .+\n(?:-- .+\n)*security definer$/m.test(text)) {
          silent.push(`${file}: ${name}`);
        }
      }
    }
    expect(silent, silent.join("\n")).toEqual([]);
    const listed = readFileSync(join(import.meta.dirname, "definers.txt"), "utf8")
      .trimEnd()
      .split("\n");
    expect(definers).toBe(listed.length);
  });

  test("each public one has a test file of its name, which calls it and expects something of it", async () => {
    const functions = await database.rows<{ room: string; name: string }>(`
      with room as (${rooms})
      select distinct room.nspname as room, procedure.proname as name
      from pg_catalog.pg_proc as procedure
      join room on room.oid = procedure.pronamespace
      cross join lateral aclexplode(procedure.proacl) as privilege
      where procedure.proname !~ '^_'
        and privilege.privilege_type = 'EXECUTE'
        and privilege.grantee <> procedure.proowner
      order by 1, 2
    `);
    expect(functions.length).toBeGreaterThan(90);
    const files = await Array.fromAsync(glob("test/sql/*/**/*.test.ts", { cwd: packageRoot }));
    const untested = functions.flatMap(({ room, name }) => {
      const file = files.find((path) => path.startsWith(`test/sql/${room}/`) && path.endsWith(`/${name}.test.ts`));
      if (file === undefined) return `test/sql/${room}/…/${name}.test.ts is missing`;
      const text = readFileSync(join(packageRoot, file), "utf8")
        .replace(/\/\*.*?\*\//gs, "")
        .replace(/^\s*\/\/.*$/gm, "")
        .replace(/^import\b.*?;$/gms, "");
      // In SQL, by a helper of that name, or as the name that a helper takes: measure("log_loss").
      const call = new RegExp(`\\b${room}\\.${name}\\b|\\b${name}\\(|(?<!\\b(?:describe|test))\\((?:\\w+, )?"${name}"`);
      return call.test(text) && text.includes("expect(") ? [] : `${file} does not call ${name}`;
    });
    expect(untested, untested.join("\n")).toEqual([]);
  });

  test("plpgsql_check finds no error", async ({ skip }) => {
    const [available] = await database.rows("select from pg_available_extensions where name = 'plpgsql_check'");
    if (available === undefined) skip("the server has no plpgsql_check");
    await database.query("create extension if not exists plpgsql_check with schema public");
    await expectNone(`
        select format('%s line %s: %s', function.name, problem.lineno, problem.message) as offender
        from function
        cross join lateral public.plpgsql_check_function_tb(function.oid::regprocedure) as problem
        where function.lanname = 'plpgsql'
          and function.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
          and problem.level = 'error'
          -- Objects that exist only while the function runs.
          and problem.message !~ '^relation "pg_temp\\.|is not assigned yet$'
      `);
  });
});

describe("tables and views", () => {
  test("row security is on for every table", async () => {
    await expectNone(`
        select relation.name as offender
        from relation
        where relation.relkind in ('r', 'p')
          and not relation.relispartition
          and not relation.relrowsecurity
      `);
  });

  test("a partition is reached through its table alone, whose policies hold", async () => {
    await expectNone(`
        select distinct relation.name as offender
        from relation
        cross join lateral aclexplode(relation.relacl) as privilege
        where relation.relispartition
          and relation.relkind in ('r', 'p')
          and privilege.grantee <> relation.relowner
      `);
  });

  test("every foreign key has an index that begins with its columns", async () => {
    await expectNone(`
        select format('%s.%I', relation.name, reference.conname) as offender
        from pg_catalog.pg_constraint as reference
        join relation on relation.oid = reference.conrelid
        where reference.contype = 'f'
          and reference.conparentid = 0
          and not exists (
            select
            from pg_catalog.pg_index as index
            where index.indrelid = reference.conrelid
              and (
                index.indpred is null
                or pg_get_expr(index.indpred, index.indrelid) = (
                  select format('(%I IS NOT NULL)', attribute.attname)
                  from pg_catalog.pg_attribute as attribute
                  where attribute.attrelid = reference.conrelid
                    and attribute.attnum = reference.conkey[1]
                )
              )
              and (index.indkey::int2[])[0:cardinality(reference.conkey) - 1] @> reference.conkey
          )
      `);
  });

  test("every materialized view can be refreshed concurrently, and no application reads it", async () => {
    await expectNone(`
        select relation.name as offender
        from relation
        where relation.relkind = 'm'
          and (
            not exists (
              select
              from pg_catalog.pg_index as index
              where index.indrelid = relation.oid
                and index.indisunique
                and index.indpred is null
                and index.indexprs is null
            )
            or exists (
              select from unnest(array[${applications}]) as role
              where role <> 'insights_worker'
                and has_any_column_privilege(role, relation.oid, 'select')
            )
          )
      `);
  });

  test("a view that applications may read applies the rights of its reader", async () => {
    await expectNone(`
        select relation.name as offender
        from relation
        where relation.relkind = 'v'
          and not coalesce(relation.reloptions, '{}') @> array['security_invoker=true']
          and exists (
            select from unnest(array[${applications}]) as role
            where has_any_column_privilege(role, relation.oid, 'select')
          )
      `);
  });
});

describe("ownership and grants", () => {
  test("everything belongs to insights_owner, functions for analysts to insights_reader", async () => {
    await expectNone(`
        select relation.name as offender
        from relation
        where relation.relowner <> 'insights_owner'::regrole
        union all
        select function.name
        from function
        where function.proowner not in ('insights_owner'::regrole, 'insights_reader'::regrole)
      `);
  });

  test("the schema public contains no object of the installation", async () => {
    await expectNone(`
        select pg_describe_object(object.classid, object.objid, 0) as offender
        from (
          select 'pg_class'::regclass as classid, oid as objid from pg_catalog.pg_class where relnamespace = 'public'::regnamespace
          union all
          select 'pg_proc'::regclass, oid from pg_catalog.pg_proc where pronamespace = 'public'::regnamespace
          union all
          select 'pg_type'::regclass, oid from pg_catalog.pg_type where typnamespace = 'public'::regnamespace and typelem = 0
        ) as object
        where not exists (
          select
          from pg_catalog.pg_depend as dependency
          where dependency.classid = object.classid
            and dependency.objid = object.objid
            and dependency.deptype = 'e'
        )
      `);
  });

  test("who may do what is known", async () => {
    const rows = await database.rows<{ line: string }>(`
      with room as (${rooms}),

      object as (
        select format('schema %I', room.nspname) as name, namespace.nspowner as owner, namespace.nspacl as acl
        from room
        join pg_catalog.pg_namespace as namespace on namespace.oid = room.oid
        union all
        select format('%s %I.%I',
            case class.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' else 'table' end,
            room.nspname, class.relname),
          class.relowner, class.relacl
        from pg_catalog.pg_class as class
        join room on room.oid = class.relnamespace
        where class.relkind in ('r', 'p', 'v', 'm', 'S')
        union all
        select format('column %I.%I.%I', room.nspname, class.relname, attribute.attname), class.relowner, attribute.attacl
        from pg_catalog.pg_attribute as attribute
        join pg_catalog.pg_class as class on class.oid = attribute.attrelid
        join room on room.oid = class.relnamespace
        where attribute.attacl is not null
        union all
        select 'function ' || procedure.oid::regprocedure, procedure.proowner, procedure.proacl
        from pg_catalog.pg_proc as procedure
        join room on room.oid = procedure.pronamespace
      ),

      granted as (
        select object.name,
          case privilege.grantee when 0 then 'public' else replace(privilege.grantee::regrole::text, 'insights_', '') end as role,
          string_agg(lower(privilege.privilege_type), ',' order by privilege.privilege_type) as privileges
        from object
        cross join lateral aclexplode(object.acl) as privilege
        where privilege.grantee <> object.owner
        group by object.name, privilege.grantee
      )

      select format('%s  %s', granted.name, string_agg(format('%s:%s', granted.role, granted.privileges), ' ' order by granted.role)) as line
      from granted
      group by granted.name
    `);
    await expect(
      `${rows
        .map(({ line }) => line)
        .sort()
        .join("\n")}\n`,
    ).toMatchFileSnapshot("grants.txt");
  });
});
