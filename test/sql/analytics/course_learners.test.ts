import { describe, expect, test } from "vitest";
import { makeCampus } from "../../support/campus.ts";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "../track/messages.ts";

const database = await testDatabase();
await makeCampus(database);

const columns = `person, name, status, enrolled_at, ended_at, first_active_at, last_active_at, active_days,
  event_count::int as event_count, extract(epoch from engaged)::int as engaged, used_items, submitted_tasks,
  share_of_items, share_of_tasks`;
const learners = (db: Queries, course = "algebra") =>
  db.rows<{ person: string }>(`select ${columns} from analytics.course_learners($1)`, [course]);
const as = <T>(person: string, work: (db: Queries) => Promise<T>): Promise<T> =>
  database.as("insights_instructor", { "insights.person": person }, work);
const names = async (person: string, course: string): Promise<string[]> =>
  (await as(person, (db) => learners(db, course))).map((row) => row.person);
const march = (at: string): Date => new Date(`2026-03-${at}Z`);

const unused = {
  name: null,
  status: null,
  enrolled_at: null,
  ended_at: null,
  first_active_at: null,
  last_active_at: null,
  active_days: 0,
  event_count: 0,
  engaged: 0,
  used_items: 0,
  submitted_tasks: 0,
  share_of_items: 0,
  share_of_tasks: 0,
};

const inAlgebra = [
  {
    ...unused,
    person: "ada",
    name: "Ada L.",
    status: "active",
    enrolled_at: new Date("2026-02-01Z"),
    first_active_at: march("02T10:00:00"),
    last_active_at: march("03T09:01:00"),
    active_days: 2,
    // Two page views of a bench, one of a page, a submission; not the grade, nor the sonnets.
    event_count: 4,
    // From the page to the sonnet, and from one view of the bench to the next.
    engaged: 300,
    used_items: 3,
    submitted_tasks: 1,
    share_of_items: 3 / 4,
    share_of_tasks: 1 / 2,
  },
  {
    ...unused,
    person: "ben",
    status: "active",
    enrolled_at: new Date("2026-02-02Z"),
    active_days: null,
    event_count: null,
    engaged: null,
    used_items: null,
    submitted_tasks: null,
    share_of_items: null,
    share_of_tasks: null,
  },
  {
    ...unused,
    person: "cleo",
    name: "Cleo C.",
    first_active_at: march("04T10:00:00"),
    last_active_at: march("04T10:00:00"),
    active_days: 1,
    event_count: 1,
    used_items: 1,
    share_of_items: 1 / 4,
  },
  {
    ...unused,
    person: "gus",
    status: "dropped",
    enrolled_at: new Date("2026-02-03Z"),
    ended_at: new Date("2026-02-20Z"),
  },
];

describe("an instructor", () => {
  test("sees the learners of the course with their activity in it: enrolled ones and active ones, exactly and without a floor", async () => {
    expect(await as("tess", (db) => learners(db))).toEqual(inAlgebra);
    // As any administrator does.
    await database.as("insights_admin", {}, async (db) => expect(await learners(db)).toEqual(inAlgebra));
  });

  test("sees them within a period", async () => {
    await as("tess", async (db) => {
      const within = (since: string, until: string) =>
        db.rows(
          "select person, event_count::int as events, engaged::text from analytics.course_learners('algebra', $1, $2) where event_count > 0",
          [since, until],
        );
      expect(await within("2026-03-02T10:00:00Z", "2026-03-02T10:06:00Z")).toEqual([
        { person: "ada", events: 1, engaged: "00:04:00" },
      ]);
      expect(await within("2026-03-03T09:00:00.000001Z", "2026-03-04T10:00:00Z")).toEqual([
        { person: "ada", events: 1, engaged: "00:00:00" },
      ]);
      expect(await within("2026-03-06Z", "infinity")).toEqual([]);
    });
  });

  test("reads them page by page, and searches for user ids and names", async () => {
    await as("tess", async (db) => {
      const list = async (settings: string): Promise<string[]> =>
        (await db.rows<{ person: string }>(`select person from analytics.course_learners('algebra', ${settings})`)).map(
          ({ person }) => person,
        );
      const all = ["ada", "ben", "cleo", "gus"];
      for (let top = 1; top <= 5; top += 1) {
        const pages: string[] = [];
        for (let page = [""]; page.length > 0; pages.push(...page)) {
          page = await list(`after_person => '${pages.at(-1) ?? ""}', top => ${top}`);
          expect(page.length).toBeLessThanOrEqual(top);
        }
        expect(pages).toEqual(all);
      }
      expect(await list("top => null, search => null, after_person => null")).toEqual(all);
      expect(await list("search => ''")).toEqual(all);
      expect(await list("search => 'E'")).toEqual(["ben", "cleo"]);
      // Her name is "Cleo C.".
      expect(await list("search => 'o c'")).toEqual(["cleo"]);
      expect(await list("search => 'E', after_person => 'ben', top => 1")).toEqual(["cleo"]);
      for (const text of ["%", "_", "\\", "' or true --", "(", "x".repeat(256)]) {
        expect(await db.rows("select * from analytics.course_learners('algebra', search => $1)", [text])).toEqual([]);
      }
      expect(await list("after_person => 'zoe'")).toEqual([]);
      // A page of one learner has the same figures as all of them.
      const [cleo] = await db.rows(
        `select ${columns} from analytics.course_learners('algebra', search => 'cleo', top => 1)`,
      );
      expect(cleo).toEqual(inAlgebra[2]);
    });
  });

  test("finds nobody who has opted out by name, and logs only those whom the page shows", async () => {
    await database.as("postgres", {}, async (db) => {
      await ingest(db, [
        { type: "identify", messageId: crypto.randomUUID(), userId: "ben", traits: { name: "Zacharias" } },
        {
          type: "identify",
          messageId: crypto.randomUUID(),
          userId: "gus",
          traits: { firstName: "Zach", lastName: "Li" },
        },
      ]);
      await refresh(db);
      const [row] = await db.rows(
        "select array_agg(person order by person) as people from analytics.course_learners('algebra', search => 'ZACH')",
      );
      expect(row).toEqual({ people: ["gus"] });
      await db.query(
        "select set_config('role', 'insights_instructor', true), set_config('insights.person', 'tess', true)",
      );
      await db.query("select track.sign_in()");
      await db.query("select from analytics.course_learners('algebra', top => 2)");
      await db.query("set local role postgres");
      expect(
        await db.rows(
          "select subject_name from privacy.disclosure where read_by = 'tess' and function_name = 'analytics.course_learners' order by 1",
        ),
      ).toEqual([{ subject_name: "ada" }, { subject_name: "ben" }]);
    });
  });

  test("sees a course that is contained in hers, but not one that contains hers", async () => {
    expect(await names("tess", "lab")).toEqual(["ada"]);
    expect(await names("lara", "lab")).toEqual(["ada"]);
    expect(await names("prue", "algebra")).toEqual(["ada", "ben", "cleo", "gus"]);
    await as("lara", async (db) =>
      expect((await db.rejects("select * from analytics.course_learners('algebra')")).code).toBe("CF002"),
    );
  });

  test("sees an event as soon as it is stored, before and after a refresh, and none of an item that is moved away", async () => {
    await database.as("postgres", {}, async (db) => {
      await ingest(db, [
        message({ userId: "cleo", timestamp: "2026-03-07T10:00:00Z", properties: { item: "exam" } }),
        message({ userId: "dan", timestamp: "2026-03-07T10:00:00Z", properties: { item: "exam" } }),
      ]);
      const changed = inAlgebra.map((row) =>
        row.person === "cleo"
          ? {
              ...row,
              last_active_at: march("07T10:00:00"),
              active_days: 2,
              event_count: 2,
              used_items: 2,
              submitted_tasks: 1,
              share_of_items: 1 / 2,
              share_of_tasks: 1 / 2,
            }
          : row,
      );
      const dan = {
        ...unused,
        person: "dan",
        first_active_at: march("07T10:00:00"),
        last_active_at: march("07T10:00:00"),
        active_days: 1,
        event_count: 1,
        used_items: 1,
        submitted_tasks: 1,
        share_of_items: 1 / 4,
        share_of_tasks: 1 / 2,
      };
      const all = [...changed.slice(0, 3), dan, ...changed.slice(3)];
      expect(await learners(db)).toEqual(all);
      await refresh(db);
      expect(await learners(db)).toEqual(all);
      await db.query(
        "update track.item set parent_item_id = (select item_id from track.item where external_id = 'poetry') where external_id = 'exam'",
      );
      const shown = await db.rows(
        "select person, event_count::int as events from analytics.course_learners('algebra') where event_count > 0",
      );
      expect(shown).toEqual([
        { person: "ada", events: 4 },
        { person: "cleo", events: 1 },
      ]);
    });
  });

  test("sees a person of two names once, under the first", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query("select track.link_identities('ada', 'cleo')");
      await refresh(db);
      const rows = await learners(db);
      expect(rows.map((row) => row.person)).toEqual(["ada", "ben", "gus"]);
      expect(rows[0]).toMatchObject({ event_count: 5, active_days: 3, status: "active" });
      await db.query("select track.unlink_identities('ada', 'cleo')");
      await refresh(db);
      expect(await learners(db)).toEqual(inAlgebra);
    });
  });

  test("who has a second name teaches under both, until the link is removed", async () => {
    await database.as("postgres", {}, async (db) => {
      await ingest(db, [message({ userId: "theresa" })]);
      const ask = async () => {
        await db.query(
          "select set_config('role', 'insights_instructor', true), set_config('insights.person', 'theresa', true)",
        );
        await db.query("select track.sign_in()");
        const [row] = await db.rows("select count(*)::int from track.taught_courses()");
        await db.query("set local role postgres");
        return row;
      };
      expect(await ask()).toEqual({ count: 0 });
      await db.query("select track.link_identities('tess', 'theresa')");
      expect(await ask()).toEqual({ count: 2 });
      await db.query("select track.unlink_identities('tess', 'theresa')");
      expect(await ask()).toEqual({ count: 0 });
    });
  });
});

describe("who may not", () => {
  // Other teachers, authors, teachers of another time, learners, a browser, unknown people, no person.
  test.each(["otto", "axel", "past", "next", "ada", "a browser", "unknown", "", "' or true --"])(
    '"%s" gets the answer of a course that does not exist',
    async (person) => {
      await as(person, async (db) => {
        const refusal = async (course: string) => {
          const {
            code,
            message: text,
            hint,
            detail,
          } = await db.rejects("select * from analytics.course_learners($1)", [course]);
          return { code, text: text.replaceAll(course, "…"), hint, detail };
        };
        expect(await refusal("algebra")).toEqual(await refusal("nothing"));
        expect(await refusal("algebra")).toMatchObject({ code: "CF002", text: 'you do not teach a course "…"' });
      });
    },
  );

  test("roles that end, and items that move, take effect at once", async () => {
    await database.as("postgres", {}, async (db) => {
      await db.query("delete from campus.staff where person = 'tess'");
      await db.query("select track.sync_item_roles('campus.staff')");
      await db.query(
        "select set_config('role', 'insights_instructor', true), set_config('insights.person', 'tess', true)",
      );
      await db.query("select track.sign_in()");
      expect((await db.rejects("select * from analytics.course_learners('algebra')")).code).toBe("CF002");
      expect((await db.rejects("select * from analytics.course_learners('lab')")).code).toBe("CF002");
    });
  });
});

test("with the consent to analytics as a requirement, only those who granted it are shown", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("update privacy.purpose set basis = 'consent' where purpose = 'analytics'");
    const shown = async () =>
      (await learners(db)).map((row) => [row.person, (row as unknown as { event_count: number | null }).event_count]);
    expect(await shown()).toEqual([
      ["ada", null],
      ["ben", null],
      ["gus", null],
    ]);
    await db.query("select privacy.record_consent(track.find_person('ada'), 'analytics', true)");
    expect(await shown()).toEqual([
      ["ada", 4],
      ["ben", null],
      ["gus", null],
    ]);
  });
});

test("settings of the session change no figure", async () => {
  await as("tess", async (db) => {
    const figures = () =>
      db.rows(
        `select person, active_days, event_count, used_items, extract(epoch from engaged)::text as engaged,
           extract(epoch from first_active_at)::text as first, extract(epoch from enrolled_at)::text as enrolled
         from analytics.course_learners('algebra', '2026-01-01 00:00Z')`,
      );
    const expected = await figures();
    expect(expected).toHaveLength(4);
    await db.query(
      "select set_config('timezone', 'Pacific/Kiritimati', true), set_config('datestyle', 'German', true), set_config('intervalstyle', 'iso_8601', true)",
    );
    expect(await figures()).toEqual(expected);
  });
});

test.each([
  ["course_learners(null)", "CF002", 'you do not teach a course "null"'],
  ["course_learners('algebra', '2026-02-01', '2026-01-01')", "CF001", "the period is from 2026-02-01"],
  ["course_learners('algebra', until => null)", "CF001", "until null"],
  ["course_learners('algebra', 'infinity')", "CF001", "the period is from infinity"],
  ["course_learners(repeat('x', 1000000))", "CF002", `"${"x".repeat(100)}"`],
  ["course_learners('algebra', top => 0)", "CF001", "top is 0"],
  ["course_learners('algebra', top => 10001)", "CF001", "top is 10001"],
  ["course_learners('algebra', search => repeat('x', 257))", "CF001", "search has 257 characters"],
  ["course_learners('groups')", "CF002", 'you do not teach a course "groups"'],
])("%s", async (call, code, text) => {
  await as("tess", async (db) => {
    const error = await db.rejects(`select * from analytics.${call}`);
    expect(error).toMatchObject({ code, message: expect.stringContaining(text), hint: expect.stringMatching(/./) });
    expect(error.message.length).toBeLessThan(200);
  });
});

test("for an administrator, the error names the nearest course", async () => {
  await database.as("insights_admin", {}, async (db) =>
    expect(await db.rejects("select * from analytics.course_learners('algebr')")).toMatchObject({
      message: 'there is no course "algebr"',
      hint: 'Did you mean "algebra"?',
    }),
  );
});

test("is for instructors, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.course_learners('algebra')")).toEqual([
    "instructor",
    "admin",
    "worker",
  ]);
});
