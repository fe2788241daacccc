import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../support/database.ts";

/*
 * The big tables are ready to be distributed by Citus. The rules are those of a distributed database; most of them can be read from the
 * catalogue, three only from the text of the functions. Each rule is shown to find an object that breaks it.
 */
const database = await testDatabase();

/** Listed tables, with their oids and columns, and the views that read them. */
const listed = `
  with recursive listed as (
    select to_regclass(format('%I.%I', schema_name, table_name))::oid as oid, format('%s.%s', schema_name, table_name) as name, column_name
    from track.distribution
  ),
  view_over (oid) as (
    select rule.ev_class
    from pg_depend as dependency
    join pg_rewrite as rule on rule.oid = dependency.objid
    join pg_class as class on class.oid = rule.ev_class and class.relkind = 'v'
    where dependency.classid = 'pg_rewrite'::regclass
      and dependency.refclassid = 'pg_class'::regclass
      and dependency.refobjid in (select oid from listed)
    union
    select rule.ev_class
    from view_over
    join pg_depend as dependency on dependency.refobjid = view_over.oid and dependency.classid = 'pg_rewrite'::regclass
    join pg_rewrite as rule on rule.oid = dependency.objid
    join pg_class as class on class.oid = rule.ev_class and class.relkind = 'v'
  ),
  relation (oid, name) as (
    select oid, name from listed
    union all
    select oid, oid::regclass::text from view_over
  ),
  function as (
    select proc.oid, proc.oid::regprocedure::text as name, proc.prosrc, proc.prosqlbody, language.lanname
    from pg_proc as proc
    join pg_language as language on language.oid = proc.prolang
    join pg_namespace as namespace on namespace.oid = proc.pronamespace
    where namespace.nspname not in ('pg_catalog', 'information_schema')
      and proc.prokind in ('f', 'p')
  )
`;

const mentions = (name: string): string => `function.prosrc ~ ('\\m' || replace(${name}, '.', '\\.') || '\\M')`;

/** Each rule as a query whose column `offender` names what breaks it. */
const catalogueRules: Record<string, string> = {
  "each primary key and unique index holds the column": `
    select index.indexrelid::regclass::text as offender
    from listed
    join pg_index as index on index.indrelid = listed.oid and index.indisunique
    join pg_attribute as attribute on attribute.attrelid = listed.oid and attribute.attname = listed.column_name
    where attribute.attnum <> all ((index.indkey::int2[])[0:index.indnkeyatts - 1])`,
  "no identity column and no sequence": `
    select format('%s.%s', listed.name, attribute.attname) as offender
    from listed
    join pg_attribute as attribute on attribute.attrelid = listed.oid and attribute.attnum > 0
    left join pg_attrdef as preset on preset.adrelid = attribute.attrelid and preset.adnum = attribute.attnum
    where attribute.attidentity <> ''
      or pg_get_expr(preset.adbin, preset.adrelid) ~ '^nextval'`,
  "no trigger": `
    select format('%s on %s', tg.tgname, listed.name) as offender
    from listed
    join pg_trigger as tg on tg.tgrelid = listed.oid
    where not tg.tgisinternal`,
  "no function with a body begin atomic": `
    select function.name as offender
    from function
    where function.prosqlbody is not null
      and exists (
        select
        from pg_depend as dependency
        join relation on relation.oid = dependency.refobjid
        where dependency.classid = 'pg_proc'::regclass
          and dependency.objid = function.oid
          and dependency.refclassid = 'pg_class'::regclass
      )`,
  "no function of language sql": `
    select distinct function.name as offender
    from function
    join relation on ${mentions("relation.name")}
    where function.lanname = 'sql'
      and function.prosqlbody is null`,
  "no function reads a view of them, through which no argument passes": `
    select function.name as offender
    from function
    join view_over on ${mentions("view_over.oid::regclass::text")}
    join pg_rewrite as rule on rule.ev_class = view_over.oid
    where rule.ev_action::text
      ~ ':(hasAggs|hasWindowFuncs|hasRecursive) true|:(distinctClause|groupClause|setOperations|limit(Offset|Count)) [({]'`,
  "a policy has no sub-query, and calls no function of the installation": `
    select format('%s on %s', policy.polname, listed.name) as offender
    from listed
    join pg_policy as policy on policy.polrelid = listed.oid
    where concat(policy.polqual::text, policy.polwithcheck::text) like '%SUBLINK%'
      or exists (
        select
        from pg_depend as dependency
        where dependency.classid = 'pg_policy'::regclass
          and dependency.objid = policy.oid
          and dependency.refclassid = 'pg_proc'::regclass
      )`,
  "a foreign key to a table that is not on the list is a tag too": `
    select format('%s.%s', listed.name, reference.conname) as offender
    from listed
    join pg_constraint as reference on reference.conrelid = listed.oid and reference.contype = 'f'
    join pg_attribute as attribute on attribute.attrelid = listed.oid and attribute.attnum = reference.conkey[1]
    join pg_attribute as other on other.attrelid = reference.confrelid and other.attnum = reference.confkey[1]
    where reference.confrelid not in (select oid from listed)
      and strpos(
        coalesce(obj_description(listed.oid, 'pg_class'), ''),
        format(E'\\n@foreignKey (%s) references %s (%s)\\n', attribute.attname, reference.confrelid::regclass, other.attname)
      ) = 0`,
};

/** Code without comments, and with empty strings. */
const bare = (code: string): string => code.replace(/--[^\n]*|\/\*[\s\S]*?\*\//g, " ").replace(/'(?:[^']|'')*'/g, "''");

/** From a position on, up to where the parenthesis closes or one of the words stands outside of any. */
function upTo(code: string, start: number, words: RegExp): string {
  let depth = 0;
  for (let i = start; i < code.length; i++) {
    if (code[i] === "(") depth++;
    if (code[i] === ")") depth--;
    const isStart = !/\w/.test(code[i] ?? "") || /\W/.test(code[i - 1] ?? " ");
    if (depth < 0 || (depth === 0 && (code[i] === ";" || (isStart && words.test(code.slice(i)))))) {
      return code.slice(start, i);
    }
  }
  return code.slice(start);
}

/** The text before a position, back to where its parenthesis opens or its statement begins; what is in parentheses is left out. */
function before(code: string, end: number): string {
  let depth = 0;
  let text = "";
  for (let i = end - 1; i >= 0; i--) {
    if (code[i] === ")") depth++;
    else if (code[i] === "(") depth--;
    else if (depth === 0) text = code[i] + text;
    if (depth < 0 || (depth === 0 && code[i] === ";")) break;
  }
  return text;
}

function withoutParentheses(code: string): string {
  let result = code;
  for (let last = ""; last !== result; ) {
    last = result;
    result = result.replace(/\([^()]*\)/g, " ");
  }
  return result;
}

function parts(list: string): string[] {
  const found: string[] = [];
  for (let start = 0; start <= list.length; ) {
    const part = upTo(list, start, /^,/);
    found.push(part.replace(/\s+/g, " ").trim());
    start += part.length + 1;
  }
  return found;
}

const positions = (code: string, pattern: RegExp): number[] =>
  [...code.matchAll(new RegExp(pattern, "g"))].map(({ index, 0: text }) => index + text.length);

interface Body {
  code: string;
  tables: readonly string[];
  /** Column of the primary key, of each table where it is one. */
  keys: ReadonlyMap<string, string>;
}

/** Each rule as a function that finds what breaks it in the body of a function that names a listed table. */
const textRules: Record<string, (body: Body) => string[]> = {
  "nothing is returned from a change but columns and constants": ({ code }) =>
    positions(code, /\breturning\b/)
      .flatMap((start) => parts(upTo(code, start, /^into\b/)))
      // Whether a row is new is a comparison of integers.
      .filter((part) => !/^(([a-z_]+\.)?([a-z_]+|\*)|\d+|xmax = 0)( as [a-z_]+)?$/.test(part)),
  "no lateral sub-query over them is joined to a CTE": ({ code, tables }) => {
    const expressions = [
      ...code.matchAll(
        /\b([a-z_]+)\s*(?:\([a-z_, ]*\)\s*)?as\s+(?:not\s+)?(?:materialized\s+)?\(\s*(?:select|with|insert|update|delete)\b/g,
      ),
    ];
    const names = expressions.map(([, name]) => name).join("|");
    return positions(code, /\blateral\s*\(/)
      .map((start) => ({ query: upTo(code, start, /^$/), start }))
      .filter(({ query }) => tables.some((table) => new RegExp(`\\b${table.replace(".", "\\.")}\\b`).test(query)))
      .filter(
        ({ start }) =>
          names !== "" &&
          new RegExp(`\\b(from|join|using)\\s+(${names})\\b`).test(before(code, code.lastIndexOf("lateral", start))),
      )
      .map(({ query }) => query.replace(/\s+/g, " ").trim().slice(0, 60));
  },
  "what is selected beside a primary key is grouped by as well": ({ code, keys }) =>
    positions(code, /\bgroup by\b/).flatMap((start) => {
      const selected =
        withoutParentheses(before(code, start))
          .split(/\bselect\b/)
          .at(-1) ?? "";
      const [list = "", from = ""] = selected.split(/\bfrom\b/);
      const grouped = parts(upTo(code, start, /^(having|order|window|union|limit|returning)\b/));
      return grouped.flatMap((group) => {
        const [alias, column] = group.split(".");
        const table =
          [...from.matchAll(/\b([a-z_]+\.[a-z_]+)(?:\s+as\s+([a-z_]+))?/g)].find(
            ([, name, as]) => (as ?? name?.split(".")[1]) === alias,
          )?.[1] ?? "";
        if (column === undefined || keys.get(table) !== column) return [];
        const columns = [...list.matchAll(new RegExp(`\\b${alias}\\.[a-z_]+`, "g"))].map(([name]) => name);
        return columns.filter((name) => !grouped.includes(name));
      });
    }),
};

/** All that breaks a rule, by rule. */
async function offenders(db: Queries): Promise<Record<string, string[]>> {
  const found: Record<string, string[]> = {};
  for (const [rule, query] of Object.entries(catalogueRules)) {
    const rows = await db.rows<{ offender: string }>(`${listed} ${query} order by 1`);
    found[rule] = rows.map(({ offender }) => offender);
  }
  const functions = await db.rows<{ name: string; prosrc: string; tables: string[] }>(
    `${listed}
     select function.name, function.prosrc, array_agg(relation.name) as tables
     from function
     join relation on ${mentions("relation.name")}
     group by function.name, function.prosrc
     order by 1`,
  );
  const primaryKeys = await db.rows<{ name: string; column: string }>(
    `select index.indrelid::regclass::text as name, attribute.attname as column
     from pg_index as index
     join pg_attribute as attribute on attribute.attrelid = index.indrelid and attribute.attnum = index.indkey[0]
     where index.indisprimary and index.indnatts = 1`,
  );
  const keys = new Map(primaryKeys.map(({ name, column }) => [name, column]));
  for (const [rule, find] of Object.entries(textRules)) {
    found[rule] = functions.flatMap(({ name, prosrc, tables }) =>
      find({ code: bare(prosrc), tables, keys }).map((what) => `${name}: ${what}`),
    );
  }
  return found;
}

/** Something that breaks each rule, and how it is called then. */
const control: Record<string, { sql: string; offender: string }> = {
  "each primary key and unique index holds the column": {
    sql: "create unique index wrong_key on track.session (session_id)",
    offender: "track.wrong_key",
  },
  "no identity column and no sequence": {
    sql: "alter table track.stale add column number bigint generated always as identity",
    offender: "track.stale.number",
  },
  "no trigger": {
    sql: `create function track.wrong_trigger() returns trigger language plpgsql as 'begin return new; end';
      create trigger wrong before insert on track.trait for each row execute function track.wrong_trigger()`,
    offender: "wrong on track.trait",
  },
  "no function with a body begin atomic": {
    sql: `create function track.wrong() returns bigint language sql begin atomic
      select count(*) from privacy.current_consent; end`,
    offender: "track.wrong()",
  },
  "no function of language sql": {
    sql: `create function track.wrong() returns bigint language sql as 'select count(*) from track.page_view'`,
    offender: "track.wrong()",
  },
  "no function reads a view of them, through which no argument passes": {
    sql: `create function track.wrong() returns bigint language plpgsql
      as 'begin return (select count(*) from privacy.current_consent); end'`,
    offender: "track.wrong()",
  },
  "a policy has no sub-query, and calls no function of the installation": {
    sql: "create policy wrong on analytics.snapshot using (person_id = track.current_person_id())",
    offender: "wrong on analytics.snapshot",
  },
  "a foreign key to a table that is not on the list is a tag too": {
    sql: "alter table track.stale add constraint wrong foreign key (person_id) references track.person",
    offender: "track.stale.wrong",
  },
  "nothing is returned from a change but columns and constants": {
    sql: `create function track.wrong() returns void language plpgsql
      as 'begin with taken as (delete from track.stale returning person_id, since - interval ''1 day'' as since) select from taken; end'`,
    offender: "track.wrong(): since - interval '' as since",
  },
  "no lateral sub-query over them is joined to a CTE": {
    sql: `create function track.wrong() returns void language plpgsql as $$ begin
        perform (with taken as (select 1 as person_id)
          select count(*) from taken cross join lateral (
            select from track.session where session.person_id = taken.person_id limit 1) as last);
      end $$`,
    offender: "track.wrong(): select from track.session where session.person_id = taken.pe",
  },
  "what is selected beside a primary key is grouped by as well": {
    sql: `create function track.wrong() returns void language plpgsql as $$ begin
        perform thing.item_id, thing.title || count(*)
        from (select thing.item_id, thing.title, count(*) from track.event join track.item as thing using (item_id) group by thing.item_id) as thing;
      end $$`,
    offender: "track.wrong(): thing.title",
  },
};

const found = await offenders(database);

describe.each(Object.keys({ ...catalogueRules, ...textRules }).map((rule) => ({ rule })))("$rule", ({ rule }) => {
  test("holds", () => {
    expect(found[rule]).toEqual([]);
  });

  test("finds what breaks it", async () => {
    const { sql, offender } = control[rule] ?? { sql: "", offender: "" };
    await database.as("insights_owner", {}, async (db) => {
      await db.query(sql);
      expect((await offenders(db))[rule]).toContain(offender);
    });
  });

  if (rule === "a policy has no sub-query, and calls no function of the installation") {
    test("finds a sub-query as well", () =>
      database.as("insights_owner", {}, async (db) => {
        await db.query("create policy wrong on track.event using (person_id in (select person_id from track.person))");
        expect((await offenders(db))[rule]).toContain("wrong on track.event");
      }));
  }
});

describe("the list", () => {
  test("names the big tables, by the person, or by the hash where there is none", async () => {
    const rows = await database.rows<{ line: string }>(
      `select format('%s.%s by %s beside %s', schema_name, table_name, column_name, coalesce(colocated_with, 'nothing')) as line
       from track.distribution order by 1`,
    );
    expect(rows.map(({ line }) => line)).toEqual([
      "analytics.snapshot by person_id beside track.event",
      "experiment.event_value by person_id beside track.event",
      "experiment.exposure by person_id beside track.event",
      "privacy.consent by person_id beside track.event",
      "privacy.person_age by person_id beside track.event",
      "recommend.dismissed_topic by person_id beside track.event",
      "recommend.evaluation_person by person_id beside track.event",
      "recommend.impression by person_id beside track.event",
      "recommend.interaction by person_id beside track.event",
      "recommend.learned by person_id beside track.event",
      "recommend.taken by person_id beside track.event",
      "track.automatic_period by person_id beside track.event",
      "track.changed by person_id beside track.event",
      "track.enrolment by person_id beside track.event",
      "track.event by person_id beside nothing",
      "track.message by message_hash beside nothing",
      "track.session by person_id beside track.event",
      "track.stale by person_id beside track.event",
      "track.step by person_id beside track.event",
      "track.step_value by person_id beside track.event",
      "track.trait by person_id beside track.event",
      "track.trait_history by person_id beside track.event",
    ]);
  });

  test("names tables and columns that are there, and are never null; tables that lie together agree on the type", async () => {
    const wrong = await database.rows(
      `select entry.table_name
       from track.distribution as entry
       left join pg_class as class
         on class.oid = to_regclass(format('%I.%I', entry.schema_name, entry.table_name)) and class.relkind in ('r', 'p')
       left join pg_attribute as attribute
         on attribute.attrelid = class.oid and attribute.attname = entry.column_name and attribute.attnotnull
       left join track.distribution as beside on format('%s.%s', beside.schema_name, beside.table_name) = entry.colocated_with
       left join pg_attribute as other on other.attrelid = to_regclass(entry.colocated_with) and other.attname = beside.column_name
       where attribute.attnum is null
         or entry.colocated_with is not null and (beside.colocated_with is not null or other.atttypid is distinct from attribute.atttypid)`,
    );
    expect(wrong).toEqual([]);
  });

  test("a table of people that is not on it is one of the few that stay on the coordinator", async () => {
    const rows = await database.rows<{ name: string }>(
      `select format('%s.%s', namespace.nspname, class.relname) as name
       from pg_class as class
       join pg_namespace as namespace on namespace.oid = class.relnamespace
       join pg_attribute as attribute on attribute.attrelid = class.oid and attribute.attname = 'person_id' and not attribute.attisdropped
       where class.relkind in ('r', 'p', 'm')
         and not class.relispartition
         and namespace.nspname in ('ml', 'privacy', 'track', 'experiment', 'analytics', 'recommend', 'monitor')
         and not exists (
           select from track.distribution as entry
           where entry.schema_name = namespace.nspname and entry.table_name = class.relname
         )
       order by 1`,
    );
    expect(rows.map(({ name }) => name)).toEqual([
      "privacy.request",
      "privacy.restriction",
      "recommend.serving_call",
      "track.identity",
      "track.item_role",
      "track.person",
      "track.stale_property",
    ]);
  });
});
