import { describe, expect, test } from "vitest";
import { importModels } from "../sql/analytics/known-models.ts";
import { refresh } from "../sql/track/messages.ts";
import { testApi } from "../support/api.ts";
import { makeCampus } from "../support/campus.ts";
import { type Queries, testDatabase } from "../support/database.ts";

/* The log of reads of the records of people: what is in it, who sees it, and attempts to read without it. */

const database = await testDatabase();
await makeCampus(database);
const { ask, post, token } = await testApi(database);

interface Entry {
  read_by: string;
  role: string;
  function_name: string;
  reason: string | null;
  subject_name: string | null;
}

/** The entries that `work` adds. */
async function added(work: () => Promise<unknown>, db: Queries = database): Promise<Entry[]> {
  const last = await db.value<string>("select coalesce(max(read_id), 0) from privacy.disclosure");
  await work();
  return await db.rows<Entry>(
    `select read_by, role, function_name, reason, subject_name from privacy.disclosure where read_id > $1
     order by read_id, function_name, subject_name`,
    [last],
  );
}

/**
 * Functions that return the record of named people to staff, with a call. `people`: a statement that returns the names in
 * the rows, by default those that are given.
 */
const rows = "select person from answer";
const reads: Record<string, [call: string, people?: string]> = {
  "analytics.cohort_people": ["analytics.cohort_people('known')", rows],
  "analytics.completion_probability": ["analytics.completion_probability('algebra', '2026-03-06')", rows],
  "analytics.course_journey": ["analytics.course_journey('algebra', 'ada', '2020-01-01')"],
  "analytics.course_learners": ["analytics.course_learners('algebra')", rows],
  "analytics.dropout_risk": ["analytics.dropout_risk('algebra', '2026-03-06', 1)", rows],
  "analytics.funnel_people": [
    `analytics.funnel_people('["Task Submitted", {"event": null}]', 1, false, '2026-01-01', '2026-06-01')`,
    rows,
  ],
  "analytics.expected_next_week_activity": ["analytics.expected_next_week_activity('algebra', '2026-03-06')", rows],
  "analytics.interventions": ["analytics.interventions('algebra')", rows],
  "analytics.person_rfm": ["analytics.person_rfm('2026-02-01', '2026-06-01')", rows],
  "experiment.assign": ["experiment.assign('ada', 'new-page')"],
  "experiment.assign_all": ["experiment.assign_all('new-page', '{ada}')"],
  "experiment.attributes": ["experiment.attributes('ada')"],
  "experiment.evaluate_features": ["experiment.evaluate_features('ada')"],
  "privacy.export_person": ["privacy.export_person('ada')"],
  "privacy.reidentify": ["privacy.reidentify(privacy.pseudonym(track.find_person('ada')))"],
  "recommend.for_people": [
    "recommend.for_people('{ada,cleo,ada,nobody}')",
    "select distinct person from answer where person <> 'nobody'",
  ],
  "recommend.for_person": ["recommend.for_person('ada')"],
  "recommend.for_session": ["recommend.for_session('ada')"],
  "recommend.next_item": ["recommend.next_item('ada')"],
  "recommend.rank_items": ["recommend.rank_items('ada', '{algebra}')"],
  "recommend.preview_rule": ["recommend.preview_rule('ada', 'try', 'exclude', kind => 'course')"],
  "recommend.serve_person": ["recommend.serve_person('ada')"],
  "recommend.why_not": ["recommend.why_not('ada', 'algebra')"],
  "track.journey": ["track.journey('ada', '2020-01-01')"],
};
await database.query(`select analytics.define_cohort('known', '{"set": "counted"}')`);
await refresh(database);
await importModels(database);
await database.query("select analytics.record_intervention('algebra', 'ada', 'call')");
await database.query(
  `select experiment.define_experiment('{"key": "new-page", "variations": [{"key": "old"}, {"key": "new"}]}')`,
);

describe("each function that returns the record of a named person", () => {
  test("is in this list: no other one of administrators and instructors has a person as argument or in its rows", async () => {
    const found = await database.rows<{ name: string }>(`
      select distinct namespace.nspname || '.' || function.proname as name
      from pg_proc as function
      join pg_namespace as namespace on namespace.oid = function.pronamespace
      left join pg_attribute as attribute
        on attribute.attrelid = (select typrelid from pg_type where oid = function.prorettype)
        and attribute.attnum > 0
      where namespace.nspname in ('privacy', 'track', 'experiment', 'analytics', 'recommend', 'monitor')
        and function.proname !~ '^_'
        and (
          has_function_privilege('insights_admin', function.oid, 'execute')
          or has_function_privilege('insights_instructor', function.oid, 'execute')
        )
        and not has_function_privilege('insights_learner', function.oid, 'execute')
        and obj_description(function.oid, 'pg_proc') !~ '@behavior -\\*'
        and (
          function.proargnames[:function.pronargs] && '{person,people,person_id,names,pseudonym}'
          or attribute.attname in ('person', 'person_id', 'identity_id', 'external_id')
        )
      order by 1`);
    // They write, decide or administrate, and return no record of the person.
    const others = [
      "analytics.record_intervention",
      "privacy.allowed",
      "privacy.current_consent",
      "privacy.disclosures",
      "privacy.erase_person",
      "privacy.lift_restriction",
      "privacy.lift_suppression",
      "privacy.may_share",
      "privacy.object",
      "privacy.open_request",
      "privacy.complete_request",
      "privacy.extend_request",
      "privacy.pseudonym",
      "privacy.publish_text",
      "privacy.record_birth_date",
      "privacy.record_consent",
      "privacy.record_consents",
      "privacy.rectify",
      "privacy.restrict_person",
      "privacy.suppress",
      "privacy.suppressed",
      // A number of people.
      "recommend.evaluate",
      "recommend.start_evaluation",
      "recommend.person_feedback",
      "track.add_to_person_set",
      "track.exclude_person",
      "track.find_identity",
      "track.find_person",
      "track.include_person",
      "track.is_in_person_set",
      "track.link_identities",
      "track.merge_persons",
      "track.person_bit",
      "track.remove_from_person_set",
      "track.set_person_set",
      "track.split_person",
      "track.unlink_identities",
    ];
    expect(found.map(({ name }) => name).filter((name) => !(name in reads) && !others.includes(name))).toEqual([]);
    for (const name of Object.keys(reads)) expect(found.map((row) => row.name)).toContain(name);
  });

  // These call it.
  const logged = (name: string): string =>
    ["recommend.preview_rule", "recommend.serve_person"].includes(name) ? "recommend.for_person" : name;

  test.each(Object.entries(reads))("%s logs the people whose records it returns", async (name, [call, people]) => {
    await database.as("insights_admin", { "insights.read_reason": " advising " }, async (db) => {
      const entries = await added(() => db.query(`create temp table answer as select * from ${call}`), db);
      const expected = (await db.rows<{ person: string }>(people ?? "select 'ada' as person")).map(
        ({ person }) => person,
      );
      expect(expected.length).toBeGreaterThan(0);
      expect(entries.map(({ subject_name }) => subject_name)).toEqual(expected.sort());
      expect(new Set(entries.map(({ read_by, ...entry }) => JSON.stringify({ ...entry, subject_name: null })))).toEqual(
        new Set([
          JSON.stringify({
            role: "admin",
            function_name: logged(name),
            reason: "advising",
            subject_name: null,
          }),
        ]),
      );
    });
  });

  test.each(Object.entries(reads))("%s logs no read of a worker", async (name, [call]) => {
    await database.as("insights_worker", {}, async (db) => {
      const work = db.query(`select * from ${call}`);
      if (/^(privacy|track)|preview_rule$/.test(name)) await expect(work).rejects.toMatchObject({ code: "42501" });
      else await work;
    });
    await database.as("postgres", {}, async (db) => {
      const entries = await added(async () => {
        await db.query("set local role insights_worker");
        if (!/^(privacy|track)|preview_rule$/.test(name)) await db.query(`select * from ${call}`);
        await db.query("reset role");
      }, db);
      expect(entries).toEqual([]);
    });
  });

  test.each(Object.entries(reads))("%s is refused in a read-only transaction", async (name, [call]) => {
    await database.as("insights_admin", {}, async (db) => {
      await db.query("set transaction read only");
      expect(await db.rejects(`select * from ${call}`)).toMatchObject({
        code: "CF005",
        message: `${logged(name)} logs what it reads, and the transaction is read-only`,
      });
    });
  });
});

describe("over HTTP", () => {
  const learners = '{ analyticsCourseLearners(course: "algebra") { nodes { person } } }';

  test("an instructor's read is a query, is logged with her name and her reason, and her learners see it", async () => {
    const entries = await added(async () => {
      const response = await post(JSON.stringify({ query: learners }), {
        authorization: `Bearer ${await token("instructor", "tess")}`,
        "x-read-reason": "Week 3: who needs help?",
      });
      expect(await response.json()).toMatchObject({ data: { analyticsCourseLearners: { nodes: { length: 4 } } } });
    });
    expect(entries).toEqual(
      ["ada", "ben", "cleo", "gus"].map((subject_name) => ({
        read_by: "tess",
        role: "instructor",
        function_name: "analytics.course_learners",
        reason: "Week 3: who needs help?",
        subject_name,
      })),
    );
    const mine = "{ privacyMyDisclosures(first: 1) { nodes { readBy role functionName reason subjectName } } }";
    const expected = {
      readBy: "tess",
      role: "instructor",
      functionName: "analytics.course_learners",
      reason: "Week 3: who needs help?",
    };
    for (const person of ["ada", "ben"]) {
      const { data, errors } = await ask(`learner:${person}`, mine);
      expect(errors).toEqual([]);
      expect(data.privacyMyDisclosures.nodes).toEqual([{ ...expected, subjectName: person }]);
    }
    expect((await ask("learner:dan", mine)).data.privacyMyDisclosures.nodes).toEqual([]);
    const { data } = await ask("admin:root", '{ privacyDisclosuresOf(person: "ada", first: 1) { nodes { readBy } } }');
    expect(data.privacyDisclosuresOf.nodes).toEqual([{ readBy: "tess" }]);
  });

  test("a mutation of the same name does not exist", async () => {
    const { errors } = await ask(
      "instructor:tess",
      'mutation { analyticsCourseLearners(input: {course: "algebra"}) { clientMutationId } }',
    );
    expect(errors[0]?.message).toContain("Cannot query field");
  });

  test("a refused read logs nothing, and a read that fails later in the request is logged", async () => {
    expect(await added(() => ask("instructor:otto", learners))).toEqual([]);
    expect(await added(() => ask("learner:ada", learners))).toEqual([]);
    const entries = await added(() =>
      ask(
        "instructor:tess",
        '{ analyticsCourseLearners(course: "algebra", first: 1) { nodes { person } } analyticsCourseJourney(course: "poetry", person: "ada") { nodes { event } } }',
      ),
    );
    expect(entries).toHaveLength(4);
  });

  test("a reason that is too long is refused, and so is a read without one where it is needed", async () => {
    const read = async (reason?: string) => {
      const response = await post(JSON.stringify({ query: learners }), {
        authorization: `Bearer ${await token("instructor", "tess")}`,
        ...(reason === undefined ? {} : { "x-read-reason": reason }),
      });
      return ((await response.json()) as { errors?: { extensions: { code: string } }[] }).errors?.[0]?.extensions.code;
    };
    expect(await added(async () => expect(await read("x".repeat(201))).toBe("CF008"))).toEqual([]);
    await database.query("update privacy.setting set needs_read_reason = true");
    expect(await added(async () => expect(await read()).toBe("CF005"))).toEqual([]);
    expect(await added(async () => expect(await read("  ")).toBe("CF005"))).toEqual([]);
    expect(await read("Advising.")).toBeUndefined();
    await database.query("update privacy.setting set needs_read_reason = false");
  });

  test("an administrator's reads of the tables of people are logged as such, whatever path leads to them", async () => {
    const tables = async (query: string) =>
      [...new Set((await added(() => ask("admin:root", query))).map(({ function_name }) => function_name))].sort();
    expect(await tables("{ trackEvents(first: 1) { nodes { eventId } } }")).toEqual(["track.event"]);
    expect(await tables("{ trackTraits { totalCount } }")).toEqual(["track.trait"]);
    expect(await tables("{ trackItems(first: 1) { nodes { externalId } } }")).toEqual([]);
    expect(await tables("{ analyticsPopularItems { nodes { item } } }")).toEqual([]);
    expect(await tables('{ trackJourney(person: "ada") { nodes { event } } }')).toEqual(["track.journey"]);
    const { data } = await ask("admin:root", "{ trackIdentities(first: 1) { nodes { id } } }");
    const node = `{ node(id: ${JSON.stringify(data.trackIdentities.nodes[0].id)}) { id } }`;
    expect(await tables(node)).toEqual(["track.identity"]);
    expect(await added(() => ask("admin:root", "{ trackEvents(first: 1) { nodes { eventId } } }"))).toEqual([
      { read_by: "root", role: "admin", function_name: "track.event", reason: null, subject_name: null },
    ]);
    // Learners read their own rows.
    expect(await added(() => ask("learner:ada", "{ trackEvents { totalCount } }"))).toEqual([]);
    // The persons see it as a read of all people.
    const mine = "{ privacyMyDisclosures(first: 1) { nodes { functionName subjectName } } }";
    expect((await ask("learner:dan", mine)).data.privacyMyDisclosures.nodes).toEqual([
      { functionName: "track.event", subjectName: null },
    ]);
  });

  test("saved queries and queries by name log, too", async () => {
    const entries = await added(() =>
      ask("admin:root", '{ analyticsRunQuery(query: "track.journey", arguments: {person: "ada"}) { nodes } }'),
    );
    expect(entries).toMatchObject([{ function_name: "track.journey", subject_name: "ada" }]);
  });
});

describe("attacks", () => {
  test.each(["visitor", "learner", "instructor", "analyst", "admin", "worker"])(
    "%s cannot write, change or delete entries, nor log in the name of another",
    async (role) => {
      await added(() => ask("admin:root", '{ trackJourney(person: "ada") { nodes { event } } }'));
      await database.as(`insights_${role}`, {}, async (db) => {
        for (const sql of [
          "insert into privacy.disclosure (read_id, read_by, role, function_name) values (1, 'x', 'x', 'x')",
          "update privacy.disclosure set read_by = 'x'",
          "delete from privacy.disclosure",
          "truncate privacy.disclosure",
          "select nextval('privacy.read_id')",
          "select setval('privacy.read_id', 1)",
          "select privacy.record_disclosure('{1}', 'track.journey')",
          "select privacy._disclosures(null)",
        ])
          expect(await db.rejects(sql), sql).toMatchObject({ code: "42501" });
      });
    },
  );

  test("the person of a setting is the reader in a request to the API alone, and no setting hides a read", async () => {
    const entries = await added(async () => {
      await database.as(
        "postgres",
        { "insights.person": "tess", "insights.person_id": "", "insights.read_reason": "" },
        async (db) => {
          await db.query("create role plain_reader login in role insights_admin");
          await db.query("set local session authorization plain_reader");
          const own = await added(() => db.query("select * from track.journey('ada')"), db);
          expect(own).toEqual([
            {
              read_by: "plain_reader",
              role: "plain_reader",
              function_name: "track.journey",
              reason: null,
              subject_name: "ada",
            },
          ]);
          // Nor as the person herself.
          await db.query("select set_config('insights.person_id', track.find_person('ada')::text, true)");
          expect(await added(() => db.query("select * from track.journey('ada')"), db)).toEqual(own);
        },
      );
    });
    // The transaction was rolled back.
    expect(entries).toEqual([]);
  });

  test("a read that is rolled back leaves a gap in the numbers of reads", async () => {
    const next = () => database.value<string>("select last_value from privacy.read_id");
    const before = Number(await next());
    await database.as("insights_admin", {}, (db) => db.query("select * from track.journey('ada')"));
    expect(Number(await next())).toBe(before + 1);
    expect(await database.value("select count(*)::int from privacy.disclosure where read_id > $1", [before])).toBe(0);
  });

  test("a person does not disclose her record to herself", async () => {
    const own = await added(() =>
      ask("instructor:tess", '{ analyticsCourseJourney(course: "algebra", person: "tess") { nodes { event } } }'),
    );
    expect(own).toEqual([]);
    await database.as("insights_admin", { "insights.person": "ada" }, async (db) => {
      await db.query("select track.sign_in()");
      expect(await added(() => db.query("select * from track.journey('ada')"), db)).toEqual([]);
    });
  });
});

describe("the log and the life of a person", () => {
  const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);
  const of = (db: Queries, name: string) =>
    db.rows<{ subject_name: string }>(
      "select subject_name from privacy.disclosures($1) where subject_name is not null and function_name = 'track.journey' order by read_at",
      [name],
    );

  test("follows merges and splits", async () => {
    await inside(async (db) => {
      await db.query("delete from privacy.disclosure");
      await db.query("select track.journey('dan')");
      await db.query("select track.merge_persons('gus', 'dan')");
      await db.query("select track.journey('dan')");
      expect(await of(db, "gus")).toHaveLength(2);
      await db.query("select track.split_person('gus', '{dan}')");
      await db.query("select track.journey('gus')");
      // The read of the merged person was one of both.
      expect(await of(db, "dan")).toEqual([{ subject_name: "dan" }, { subject_name: "dan" }]);
      expect(await of(db, "gus")).toEqual([{ subject_name: "gus" }, { subject_name: "gus" }]);
    });
  });

  test("is sealed, and a change or a deletion is found", async () => {
    await inside(async (db) => {
      await db.query("delete from privacy.disclosure where ledger_position is null");
      await db.query("select track.journey('ada'), track.journey('dan')");
      await db.query("select privacy.seal()");
      const problems = async () =>
        (
          await db.rows<{ problem: string; kind: string }>("select (unnest(problems)).* from privacy.verify_ledger()")
        ).map(({ problem, kind }) => `${problem} ${kind}`);
      expect(await problems()).toEqual([]);
      await db.query("savepoint before");
      await db.query("update privacy.disclosure set read_by = 'nobody' where subject_name = 'ada'");
      expect(await problems()).toEqual(["changed disclosure"]);
      await db.query("rollback to before");
      await db.query("delete from privacy.disclosure where subject_name = 'ada'");
      expect(await problems()).toEqual(["missing disclosure"]);
      await db.query("rollback to before");
      await db.query("select privacy.erase_person('ada')");
      expect(await problems()).toEqual([]);
      expect(
        await db.rows("select distinct subject_name from privacy.disclosure where subject_name is not null"),
      ).toEqual([{ subject_name: "dan" }]);
    });
  });

  test("is in the export of the person", async () => {
    await inside(async (db) => {
      await db.query("select track.journey('gus')");
      const exported = await db.value<{ data: Record<string, { function_name: string }[]> }>(
        "select privacy.export_person('gus')",
      );
      expect(exported.data["privacy.disclosure"]?.map(({ function_name }) => function_name)).toEqual(
        expect.arrayContaining(["track.journey", "privacy.export_person"]),
      );
    });
  });
});
