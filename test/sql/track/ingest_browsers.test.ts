import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, type Message, message } from "./messages.ts";
import { belongings, browse, identify } from "./names.ts";

const database = await testDatabase();

const hers = "11111111-1111-4111-8111-111111111111";
const other = "22222222-2222-4222-8222-222222222222";

type As = <T>(work: (db: Queries) => Promise<T>) => Promise<T>;

interface Actors {
  db: Queries;
  server: As;
  visitor: (browser?: string) => As;
  learner: (person: string, browser?: string) => As;
}

/** All of them in one transaction, which is rolled back. */
const scene = (work: (actors: Actors) => Promise<void>): Promise<void> =>
  database.as("postgres", {}, async (db) => {
    const act =
      (role: string, person: string, browser: string): As =>
      async (inner) => {
        for (const [name, value] of [
          ["insights.person", person],
          ["insights.browser", browser],
        ]) {
          await db.query("select set_config($1, $2, true)", [name, value]);
        }
        await db.query(`set local role ${role}`);
        try {
          return await inner(db);
        } finally {
          await db.query("reset role");
          await db.query("select set_config('insights.person', '', true), set_config('insights.browser', '', true)");
        }
      };
    await work({
      db,
      server: act("insights_worker", "", ""),
      visitor: (browser = "") => act("insights_visitor", "", browser),
      learner: (person, browser = "") => act("insights_learner", person, browser),
    });
  });

const own = (anonymousId: string, fields: Message = {}) => browse(anonymousId, fields);
const grant = (anonymousId: string, granted: boolean) =>
  own(anonymousId, {
    event: "Segment Consent Preference Updated",
    context: { consent: { categoryPreferences: { advertising: granted, personalization: granted } } },
  });
const allowed = (db: Queries, purpose: string) =>
  db.value("select privacy.allowed(track.find_person('ada'), $1)", [purpose]);

describe("an anonymousId that belongs to a person", () => {
  test("without proof: events, traits and a grant bind nobody else, a refusal counts", async () => {
    await scene(async ({ db, server, visitor }) => {
      await visitor(hers)((as) => ingest(as, [own("b")]));
      await server((as) => ingest(as, [identify("b", "ada")]));
      for (const thief of [visitor(), visitor(other)]) {
        await thief((as) =>
          ingest(as, [
            own("b"),
            own("b", { type: "identify", event: undefined, traits: { email: "thief@x.example" } }),
            grant("b", true),
          ]),
        );
      }
      expect(await belongings(db, "ada")).toEqual(["b"]);
      expect(await db.value("select count(*)::int from track.trait where person_id = track.find_person('ada')")).toBe(
        0,
      );
      expect(await allowed(db, "advertising")).toBe(false);
      expect(
        await db.rows(
          "select kind, count(*)::int as events from track.event join track.identity using (identity_id) group by 1 order by 1",
        ),
      ).toEqual([
        { kind: "anonymous", events: 1 },
        { kind: "unverified", events: 4 },
      ]);
      expect(await allowed(db, "personalization")).toBe(true);
      await visitor(other)((as) => ingest(as, [grant("b", false)]));
      expect(await allowed(db, "personalization")).toBe(false);
    });
  });

  test("with the cookie of the browser: events are the person's, a grant still is not", async () => {
    await scene(async ({ db, server, visitor }) => {
      await visitor(hers)((as) => ingest(as, [own("b")]));
      await server((as) => ingest(as, [identify("b", "ada")]));
      await visitor(hers)((as) => ingest(as, [own("b"), grant("b", true)]));
      // The decision is an event of the browser.
      expect(await belongings(db, "ada")).toEqual(["b", "b", "b"]);
      expect(await allowed(db, "advertising")).toBe(false);
      await visitor(hers)((as) => ingest(as, [grant("b", false)]));
      expect(await allowed(db, "personalization")).toBe(false);
    });
  });

  test("a grant of a browser that nobody had identified on counts for the person later", async () => {
    await scene(async ({ db, server, visitor }) => {
      await visitor(hers)((as) => ingest(as, [grant("b", true)]));
      await server((as) => ingest(as, [identify("b", "ada")]));
      expect(await allowed(db, "advertising")).toBe(true);
    });
  });

  test("a server and a database login prove nothing: they are trusted, but a grant needs a userId", async () => {
    for (const role of ["server", "superuser"] as const) {
      await scene(async ({ db, server }) => {
        const send: As = role === "server" ? server : (work) => work(db);
        await send((as) => ingest(as, [own("b"), identify("b", "ada"), own("b"), grant("b", true)]));
        await send((as) => ingest(as, [own("b"), grant("b", true)]));
        expect(await allowed(db, "advertising")).toBe(false);
        expect(await db.value("select count(*)::int from track.event where person_id = track.find_person('ada')")).toBe(
          5,
        );
      });
    }
  });

  test("what the person refused also holds for messages without proof", async () => {
    await scene(async ({ db, server, visitor }) => {
      await server((as) => ingest(as, [own("b"), identify("b", "ada")]));
      await db.query("select privacy.record_consent(track.find_person('ada'), 'analytics', false)");
      await visitor()((as) => ingest(as, [own("b", { properties: { secret: 1 } })]));
      expect(await db.value("select count(*)::int from track.event where properties ? 'secret'")).toBe(0);
    });
  });
});

describe("identify by a signed-in person", () => {
  test("with the id of another person's browser reads nothing of it, neither past nor future", async () => {
    for (const [cookie, early] of [
      ["", false],
      [other, false],
      ["", true],
    ] as const) {
      await scene(async ({ db, visitor, learner }) => {
        // The owner has the cookie or none; the other learner may be first.
        const owner = early ? visitor() : visitor(hers);
        if (!early) await owner((as) => ingest(as, [own("b")]));
        await learner("mallory", cookie)((as) => ingest(as, [identify("b", "mallory")]));
        await owner((as) => ingest(as, [own("b"), own("b")]));
        expect(await belongings(db, "mallory")).toEqual([]);
        if (early) return;
        // And does not hinder the owner, with the past.
        await learner("ada", hers)((as) => ingest(as, [identify("b", "ada")]));
        await visitor(hers)((as) => ingest(as, [own("b")]));
        expect(await belongings(db, "ada")).toEqual(["b", "b", "b", "b"]);
        expect(await belongings(db, "mallory")).toEqual([]);
      });
    }
  });

  test("with the cookie takes the past of the browser along", async () => {
    await scene(async ({ db, visitor, learner }) => {
      await visitor(hers)((as) => ingest(as, [own("b"), own("b")]));
      await learner("ada", hers)((as) => ingest(as, [identify("b", "ada"), own("b")]));
      expect(await belongings(db, "ada")).toEqual(["b", "b", "b"]);
    });
  });

  test("of a browser that is new, with the cookie: nobody else can send for it", async () => {
    await scene(async ({ db, visitor, learner }) => {
      await learner("ada", hers)((as) => ingest(as, [identify("b", "ada")]));
      await visitor()((as) => ingest(as, [own("b")]));
      await visitor(hers)((as) => ingest(as, [own("b")]));
      expect(await belongings(db, "ada")).toEqual(["b"]);
    });
  });

  test("without the cookie links from now on what she sends herself, and leaves the past", async () => {
    await scene(async ({ db, visitor, learner }) => {
      await visitor()((as) => ingest(as, [own("b")]));
      await learner("ada")((as) => ingest(as, [own("b"), identify("b", "ada"), identify("b", "ada")]));
      await learner("ada")((as) => ingest(as, [own("b")]));
      await learner("ben")((as) => ingest(as, [own("b")]));
      await visitor()((as) => ingest(as, [own("b")]));
      expect(await belongings(db, "ada")).toEqual(["ada"]);
      expect(await belongings(db, "b")).toEqual(["b", "b", "b", "b"]);
      // An administrator removes the claim as any link.
      await db.query("select track.unlink_identities('ada', 'b')");
      await learner("ada")((as) => ingest(as, [own("b")]));
      expect(await belongings(db, "ada")).toEqual(["ada"]);
    });
  });

  test("her own browser stays hers without the cookie while she is signed in", async () => {
    await scene(async ({ db, server, visitor, learner }) => {
      await server((as) => ingest(as, [identify("b", "ada")]));
      await learner("ada")((as) => ingest(as, [own("b")]));
      await visitor()((as) => ingest(as, [own("b")]));
      await learner("ben")((as) => ingest(as, [own("b")]));
      expect(await belongings(db, "ada")).toEqual(["b"]);
    });
  });

  test("on a browser of another one ends that one's use, with the cookie only", async () => {
    await scene(async ({ db, visitor, learner }) => {
      const at = (minutes: number) => ({ timestamp: new Date(Date.now() - minutes * 60_000).toISOString() });
      await learner("ada", hers)((as) => ingest(as, [identify("b", "ada", at(50)), own("b", at(40))]));
      await learner("mallory", other)((as) => ingest(as, [identify("b", "mallory", at(35))]));
      await visitor(hers)((as) => ingest(as, [own("b", at(30))]));
      await learner("ben", hers)((as) => ingest(as, [identify("b", "ben", at(20)), own("b", at(10))]));
      expect(await belongings(db, "ada")).toEqual(["b", "b"]);
      expect(await belongings(db, "ben")).toEqual(["b"]);
      expect(await belongings(db, "mallory")).toEqual([]);
    });
  });

  test("dated before another person's takes nothing of her past: it links from its arrival on", async () => {
    for (const minutes of [120, 59, 50]) {
      await scene(async ({ db, visitor, learner }) => {
        const at = (ago: number) => ({ timestamp: new Date(Date.now() - ago * 60_000).toISOString() });
        await visitor(hers)((as) => ingest(as, [own("b", at(60))]));
        await learner(
          "ada",
          hers,
        )((as) => ingest(as, [identify("b", "ada", { timestamp: at(50).timestamp }), own("b", at(40))]));
        const [link] = await db.rows<{ linked_at: Date }>("select linked_at from track.identity_link");
        const time = minutes === 50 ? { timestamp: link?.linked_at.toISOString() } : at(minutes);
        await learner("zoe", hers)((as) => ingest(as, [identify("b", "zoe", time)]));
        expect(await belongings(db, "ada")).toEqual(["b", "b"]);
        expect(await belongings(db, "zoe")).toEqual([]);
        await visitor(hers)((as) => ingest(as, [own("b")]));
        expect(await belongings(db, "zoe")).toEqual(["b"]);
      });
    }
  });
});

test("links and claims of a browser that are removed leave nothing behind", async () => {
  await scene(async ({ db, server, visitor, learner }) => {
    const at = (minute: number) => ({ timestamp: new Date(Date.now() - (60 - minute) * 60_000).toISOString() });
    await visitor()((as) => ingest(as, [own("b", at(5))]));
    await learner("mallory")((as) => ingest(as, [identify("b", "mallory", at(6))]));
    await server((as) =>
      ingest(as, [identify("b", "ada", at(10)), own("b", at(15)), identify("b", "ben", at(20)), own("b", at(25))]),
    );
    expect([await belongings(db, "ada"), await belongings(db, "ben")]).toEqual([["b", "b"], ["b"]]);
    await db.query("select track.unlink_identities('b', 'ada')");
    expect([await belongings(db, "ada"), await belongings(db, "ben")]).toEqual([[], ["b", "b", "b"]]);
    await db.query("select track.unlink_identities('b', 'ben')");
    expect(await belongings(db, "b")).toEqual(["b", "b", "b"]);
    expect(await db.value("select count(*)::int from track.identity where external_id = 'b'")).toBe(1);
    // A link that was removed is not made again by an older message; a newer one is.
    await server((as) => ingest(as, [identify("b", "ada", at(12))]));
    expect(await belongings(db, "ada")).toEqual([]);
    await db.query(
      "update track.identity_link set unlinked_at = now() - interval '1 hour' where unlinked_at is not null",
    );
    await server((as) => ingest(as, [identify("b", "ada", at(30))]));
    expect(await belongings(db, "ada")).toEqual(["b", "b", "b"]);
    await learner("mallory")((as) => ingest(as, [own("b")]));
    expect(await belongings(db, "mallory")).toEqual(["mallory"]);
  });
});

describe("identities of a person", () => {
  const many = (count: number, from = 0) =>
    Array.from({ length: count }, (_, index) => identify(`many-${from + index}`, "ada"));

  test("are limited, by a setting: an error with number and limit, the others are stored", async () => {
    await scene(async ({ db, server, learner }) => {
      await db.query("update track.setting set most_identities = 5");
      const result = await server((as) => ingest(as, [...many(6), message()]));
      expect(result).toMatchObject({ accepted: 5, rejected: 2 });
      expect(result.errors[0]).toMatchObject({
        index: 4,
        code: "CF008",
        message: 'the person "ada" would have 6 identities',
        hint: expect.stringContaining("5 at most"),
      });
      // Known ones are accepted at any time, new ones are not, also one by one and by an alias.
      expect(await server((as) => ingest(as, many(4)))).toMatchObject({ accepted: 4 });
      expect(await server((as) => ingest(as, many(1, 9)))).toMatchObject({ rejected: 1 });
      await server((as) => ingest(as, [message({ userId: "eve" })]));
      expect(
        await server((as) => ingest(as, [message({ type: "alias", previousId: "eve", userId: "ada" })])),
      ).toMatchObject({ rejected: 1 });
      expect(
        await db.value("select count(*)::int from track.identity where person_id = track.find_person('ada')"),
      ).toBe(5);
      // A claim counts, too.
      expect(
        await learner("ben")((as) =>
          ingest(
            as,
            [1, 2, 3, 4, 5].map((n) => identify(`c${n}`, "ben")),
          ),
        ),
      ).toMatchObject({
        accepted: 4,
        rejected: 1,
      });
      expect(await learner("ben")((as) => ingest(as, [identify("c9", "ben")]))).toMatchObject({ rejected: 1 });
    });
  });

  describe("several requests in one batch", () => {
    const stating = (role: string, requests: object[]) => (messages: Message[]) =>
      database.as(role, { "insights.requests": JSON.stringify(requests) }, (db) => ingest(db, messages));

    test("the first request that names a new browser owns it; each person is that of her request", async () => {
      const result = await stating("insights_learner", [
        { messages: 1, person: "ada", browser: hers },
        { messages: 2, person: "ben", browser: other },
      ])([identify("new", "ada"), identify("new", "ben"), message({ userId: "ada" })]);
      expect(result).toMatchObject({ accepted: 2, rejected: 1, errors: [{ index: 2, code: "CF005" }] });
    });

    test("a role without a person gets none by stating one", async () => {
      const result = await stating("insights_visitor", [{ messages: 1, person: "ada" }])([message({ userId: "ada" })]);
      expect(result).toMatchObject({ accepted: 0, errors: [{ code: "CF005" }] });
    });

    test.each([
      [[], 1],
      [[{ messages: 1 }], 2],
      [[{ messages: 3 }], 2],
      [[{ messages: -1 }, { messages: 2 }], 1],
      [[{ messages: 2_000_000_000 }], 1],
    ])("%j with %i messages: refused", async (requests, count) => {
      await expect(
        stating("insights_visitor", requests)(Array.from({ length: count }, (_each, index) => browse(`c${index}`, {}))),
      ).rejects.toMatchObject({ code: "CF009", message: expect.stringContaining("messages, the batch has") });
    });
  });

  test.each(["none", "of a nearly empty table"])("5,000 in one batch, with statistics: %s", async (statistics) => {
    await scene(async ({ db, server }) => {
      // As an autovacuum leaves them that sees the pages of a batch, and no row, before it is committed.
      if (statistics !== "none") {
        await db.query(
          `update pg_class set relpages = 27, reltuples = 1
           where oid in ('track.identity'::regclass, 'track.person'::regclass)`,
        );
      }
      expect(await server((as) => ingest(as, many(5_000)))).toMatchObject({ accepted: 2_499, rejected: 2_501 });
      expect(
        await db.value("select count(*)::int from track.identity where person_id = track.find_person('ada')"),
      ).toBe(2_500);
    });
  });
});
