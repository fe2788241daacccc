import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, ingestText, type Message, message } from "./messages.ts";

const database = await testDatabase();

type Treatment = "off" | "report" | "mask" | "refuse";

const under = <T>(treatment: Treatment, work: (db: Queries) => Promise<T>): Promise<T> =>
  database.as("postgres", {}, async (db) => {
    await db.query("update track.setting set personal_data = $1", [treatment]);
    return work(db);
  });

interface Found {
  event: string | null;
  property: string;
  kind: string;
  found: number;
}

const found = (db: Queries): Promise<Found[]> =>
  db.rows<Found>(
    'select event, property, kind, found::int as found from track.personal_data_found() order by property collate "C", kind',
  );

/** A comment as it is stored under `mask`. */
async function masked(comment: unknown): Promise<unknown> {
  return under("mask", async (db) => {
    expect(await ingest(db, [message({ properties: { comment } })])).toMatchObject({ accepted: 1 });
    return db.value("select properties -> 'comment' from track.event");
  });
}

test.each([
  ["ada@example.org", "[e-mail]"],
  ["Write to ada.b+c@sub.example.co.uk!", "Write to [e-mail]!"],
  ["<ada@example.org>, ben@example.org.", "<[e-mail]>, [e-mail]."],
  ["mailto:ada@example.org", "mailto:[e-mail]"],
  ["/find?email=ada%40example.org&page=2", "/find?email=[e-mail]&page=2"],
  ["ada%2Btag%40example.org", "[e-mail]"],
  ["jörg@bücher.example", "[e-mail]"],
  ["ada@xn--bcher-kva.example", "[e-mail]"],
  ["first line\nada@example.org\tnext", "first line\n[e-mail]\tnext"],
  ['"ada@example.org"\\ben@example.org', '"[e-mail]"\\[e-mail]'],
  ["\u0001ada@example.org\u001f", "\u0001[e-mail]\u001f"],
  ["+4917012345678", "[phone]"],
  ["+49 170 1234567", "[phone]"],
  ["+49 (0)170 1234567", "[phone]"],
  ["+1 (415) 555-2671", "[phone]"],
  ["+1-415-555-2671", "[phone]"],
  ["call +33 1 23 45 67 89 now", "call [phone] now"],
  ["+44 20 7946 0958.", "[phone]."],
  ["+41\u00a044\u00a0668\u00a018\u00a000", "[phone]"],
  ["0041 44 668 18 00", "[phone]"],
  ["044 668 18 00", "[phone]"],
  ["(415) 555-2671", "[phone]"],
  ["415-555-2671", "[phone]"],
  ["415.555.2671", "[phone]"],
  ["1-415-555-2671", "[phone]"],
  ["030/1234567", "[phone]"],
  ["(030) 1234567", "[phone]"],
  ["0170-1234567", "[phone]"],
  ["01 23 45 67 89", "[phone]"],
  ["01.23.45.67.89", "[phone]"],
  ["020 7946 0958 or 020 7946 0959", "[phone] or [phone]"],
  ["tel: 01701234567", "tel: [phone]"],
  ["my phone number 4155552671", "my phone number [phone]"],
  ["?to=%2B4917012345678", "?to=[phone]"],
  ["ada@example.org, +49 170 1234567", "[e-mail], [phone]"],
])("%j is stored as %j", async (comment, expected) => {
  expect(await masked(comment)).toBe(expected);
  await under("report", async (db) => {
    await ingest(db, [message({ properties: { comment } })]);
    expect(await db.value("select properties ->> 'comment' from track.event")).toBe(comment);
    const count = (word: string): number => expected.split(word).length - 1;
    expect(await found(db)).toEqual(
      [
        { event: "Task Submitted", property: "properties.comment", kind: "e-mail", found: count("[e-mail]") },
        { event: "Task Submitted", property: "properties.comment", kind: "phone", found: count("[phone]") },
      ].filter((row) => row.found > 0),
    );
  });
});

const notContacts: unknown[] = [
  4155552671,
  "4155552671",
  "01701234567",
  1_700_000_000_000,
  "1700000000000",
  "2026-03-01T10:00:00.123+01:00",
  "2026-03-01 10:00:00",
  "01.02.2026 10:30",
  "01-02-2026 10:30",
  "01/02/2026",
  "978-0-306-40615-7",
  "978 0 306 40615 7",
  "0-306-40615-2",
  "0 306 40615 2",
  "0-19-853453-1",
  "550e8400-e29b-41d4-a716-446655440000",
  "12345678-1234-1234-1234-123456789012",
  "+0.1234567890",
  "+1.23456789",
  "-12345678901",
  0.123456789,
  -123.4567891,
  "192.168.100.200",
  "DE89 3704 0044 0532 0130 00",
  "4111 1111 1111 1111",
  "0123 4567 8901 2345",
  "10.1000/182",
  "01234-5678",
  "UTC+02:00",
  "1,234,567",
  "123-45-6789",
  "001 002 003 004",
  "47.3769 8.5417",
  "1e+20",
  "x + 23456789",
  "icon@2x.png",
  "react@18.2.0",
  "lodash@4.17.21/index.js",
  "git@github.com:org/repository",
  "@handle",
  "a@b",
  "user@localhost",
  "5 @ 3.20 each",
  "[e-mail] [phone]",
  "",
  null,
  true,
];

test("ids, times, numbers, ISBNs, names of files and such are not taken for contact data", async () => {
  for (const value of notContacts) expect(await masked(value)).toEqual(value);
  await under("refuse", async (db) => {
    const batch = notContacts.map((value) => message({ properties: { value, deep: [{ value }] } }));
    expect(await ingest(db, batch)).toMatchObject({ accepted: notContacts.length, errors: [] });
  });
});

describe("places", () => {
  const batch = (): Message[] => [
    message({
      event: "Search Done",
      properties: {
        search: "ada@example.org",
        deep: { list: [{ note: "0170 1234567" }, ["+49 170 1234567", "x"]], "ben@example.org": 1 },
        phone: "4155552671",
        mobileNumber: 4155552671,
        item: "0123-4567-8901",
        viewId: "0170-1234567",
      },
    }),
    message({
      type: "page",
      event: undefined,
      name: "Profile of ada@example.org",
      properties: {
        path: "/u/ada@example.org",
        title: "ada@example.org",
        url: "https://campus.example/u/ada%40example.org",
        referrer: "https://campus.example/?q=ada@example.org",
      },
    }),
    message({ type: "page", event: undefined, context: { page: { path: "/u/ben%40example.org" } } }),
    message({ event: "Mail to ada@example.org" }),
    message({
      type: "identify",
      event: undefined,
      traits: {
        email: "ada@example.org",
        phone: "+49 170 1234567",
        note: "ada@example.org",
        manager: { email: "ben@example.org" },
      },
    }),
  ];

  test("are reported by path, with the values as they are", async () => {
    await under("report", async (db) => {
      expect(await ingest(db, batch())).toMatchObject({ accepted: 5 });
      const event = "Search Done";
      expect(await found(db)).toEqual([
        { event: "Page Viewed", property: "context.page", kind: "e-mail", found: 1 },
        // Without the name of the type, which contains the address.
        { event: null, property: "message.event", kind: "e-mail", found: 1 },
        { event, property: "properties.deep.[e-mail]", kind: "e-mail", found: 1 },
        { event, property: "properties.deep.list[].note", kind: "phone", found: 1 },
        { event, property: "properties.deep.list[][]", kind: "phone", found: 1 },
        { event, property: "properties.mobileNumber", kind: "phone", found: 1 },
        { event: "Page Viewed", property: "properties.name", kind: "e-mail", found: 1 },
        { event: "Page Viewed", property: "properties.path", kind: "e-mail", found: 1 },
        { event, property: "properties.phone", kind: "phone", found: 1 },
        { event: "Page Viewed", property: "properties.referrer", kind: "e-mail", found: 1 },
        { event, property: "properties.search", kind: "e-mail", found: 1 },
        { event: "Page Viewed", property: "properties.title", kind: "e-mail", found: 1 },
        { event: "Page Viewed", property: "properties.url", kind: "e-mail", found: 1 },
        { event: null, property: "traits.manager.email", kind: "e-mail", found: 1 },
        { event: null, property: "traits.note", kind: "e-mail", found: 1 },
      ]);
      expect(await db.value("select count(*) from track.found_data where property like '%@%'")).toBe("0");
    });
  });

  test("are masked, keys and names of items included", async () => {
    await under("mask", async (db) => {
      expect(await ingest(db, batch())).toMatchObject({ accepted: 5 });
      expect(
        await db.rows(
          'select properties from track.event join track.event_type using (event_type_id) order by name collate "C", properties is null desc',
        ),
      ).toEqual([
        { properties: null },
        { properties: null },
        {
          properties: {
            name: "Profile of [e-mail]",
            path: "/u/[e-mail]",
            title: "[e-mail]",
            url: "https://campus.example/u/[e-mail]",
            referrer: "https://campus.example/?q=[e-mail]",
          },
        },
        {
          properties: {
            search: "[e-mail]",
            deep: { list: [{ note: "[phone]" }, ["[phone]", "x"]], "[e-mail]": 1 },
            phone: "[phone]",
            mobileNumber: "[phone]",
            item: "0123-4567-8901",
            viewId: "0170-1234567",
          },
        },
      ]);
      expect(await db.rows('select external_id from track.item order by external_id collate "C"')).toEqual([
        { external_id: "/u/[e-mail]" },
        { external_id: "0123-4567-8901" },
      ]);
      expect(await db.value("select name from track.event_type where name like 'Mail%'")).toBe("Mail to [e-mail]");
      expect(await db.rows("select name, value from track.trait order by 1")).toEqual([
        { name: "email", value: "ada@example.org" },
        { name: "manager", value: { email: "[e-mail]" } },
        { name: "note", value: "[e-mail]" },
        { name: "phone", value: "+49 170 1234567" },
      ]);
    });
  });

  test("are refused, with the path and never the value", async () => {
    await under("refuse", async (db) => {
      const result = await ingest(db, [...batch(), message({ properties: { comment: "nothing" } })]);
      expect(result).toMatchObject({ accepted: 1, rejected: 5 });
      expect(result.errors.map(({ code, message: text }) => [code, text])).toEqual([
        ["CF001", '"properties.deep.[e-mail]" contains an e-mail address'],
        ["CF001", '"properties.name" contains an e-mail address'],
        ["CF001", '"context.page" contains an e-mail address'],
        ["CF001", '"message.event" contains an e-mail address'],
        ["CF001", '"traits.manager.email" contains an e-mail address'],
      ]);
      expect(await db.value("select count(*) from track.event")).toBe("1");
      expect(JSON.stringify(result)).not.toMatch(/@|1234567/);
    });
  });

  test("are not looked at where it is off, and traits can be declared", async () => {
    await under("off", async (db) => {
      await ingest(db, batch());
      expect(await found(db)).toEqual([]);
      await db.query("update track.setting set personal_data = 'mask', contact_traits = '{manager}'");
      await ingest(db, [
        message({
          type: "identify",
          event: undefined,
          userId: "ben",
          traits: { email: "ada@example.org", manager: { email: "ben@example.org" } },
        }),
      ]);
      expect(
        await db.rows(
          "select name, value from track.trait join track.identity using (identity_id) where external_id = 'ben' order by 1",
        ),
      ).toEqual([
        { name: "email", value: "[e-mail]" },
        { name: "manager", value: { email: "ben@example.org" } },
      ]);
    });
  });
});

test("duplicates and refused messages are not counted", async () => {
  await under("report", async (db) => {
    const one = message({ properties: { comment: "ada@example.org" } });
    await ingest(db, [one, one]);
    await ingest(db, [one, message({ type: "unknown", properties: { comment: "ada@example.org" } })]);
    expect(await found(db)).toMatchObject([{ found: 1 }]);
  });
});

test("a decision about consent is stored as it was sent", async () => {
  await under("refuse", async (db) => {
    expect(
      await ingest(db, [
        message({
          event: "Segment Consent Preference Updated",
          context: { consent: { categoryPreferences: { analytics: true } } },
          properties: { comment: "ada@example.org" },
        }),
      ]),
    ).toMatchObject({ accepted: 1 });
  });
});

describe("hostile contents", () => {
  const pieces = [
    "a@",
    "a@a.",
    "a@a.b",
    "a@a.b ",
    "a%40",
    "0 1",
    "+1",
    "+1 2",
    "+1(",
    "01 23 ",
    "01-23",
    "1-",
    "415 555 ",
    "(",
    "+(",
    "0041 44 668 ",
    '"',
    "\\",
    "\n",
    "tel",
    "phone:1",
    ".",
    "+12345678",
    "01.23",
    "(0",
    "ü@ü.",
    "\u0001",
    "[e-mail]",
  ];

  test("of 100,000 characters are stored or refused, and never fail the batch", async () => {
    for (const treatment of ["report", "mask"] as const) {
      await under(treatment, async (db) => {
        await db.query("update track.setting set longest_properties = 1000000");
        const batch = pieces.map((piece) =>
          message({ properties: { text: piece.repeat(100_000 / piece.length), also: "ada@example.org" } }),
        );
        expect(await ingest(db, batch)).toMatchObject({ accepted: pieces.length });
        expect(await db.value("select count(*) from track.event where properties ->> 'also' = '[e-mail]'")).toBe(
          treatment === "mask" ? String(pieces.length) : "0",
        );
      });
    }
  });

  test("of a depth that no stack holds are treated as any other", async () => {
    await under("mask", async (db) => {
      const depth = 1_000;
      const lists = `${"[".repeat(depth)}"ada@example.org"${"]".repeat(depth)}`;
      const objects = `${'{"a":'.repeat(depth)}"ada@example.org"${"}".repeat(depth)}`;
      expect(
        await ingestText(
          db,
          `[{"type":"track","messageId":"deep","userId":"ada","event":"Deep","properties":{"lists":${lists},"objects":${objects}}}]`,
        ),
      ).toMatchObject({ accepted: 1 });
      expect(await db.value("select properties::text like '%@%' from track.event")).toBe(false);
      expect(await found(db)).toEqual([
        { event: "Deep", property: `properties.lists${"[]".repeat(7)}`, kind: "e-mail", found: 1 },
        { event: "Deep", property: `properties.objects${".a".repeat(7)}`, kind: "e-mail", found: 1 },
      ]);
    });
  });

  test("with half surrogates and null bytes are refused as before, beside others", async () => {
    await under("mask", async (db) => {
      expect(
        await ingestText(
          db,
          `[{"type":"track","messageId":"1","userId":"ada","event":"A","properties":{"text":"\\ud800 ada@example.org"}},
            {"type":"track","messageId":"2","userId":"ada","event":"A","properties":{"text":"\\u0000 ada@example.org"}},
            {"type":"track","messageId":"3","userId":"ada","event":"A","properties":{"text":"\\ud83d\\ude00ada@example.org"}}]`,
        ),
      ).toMatchObject({ accepted: 1, rejected: 2 });
      expect(await db.value("select properties ->> 'text' from track.event")).toBe("\u{1f600}[e-mail]");
    });
  });

  test("cannot fill the counts: above 2,000 paths of a day they are summed", async () => {
    await under("report", async (db) => {
      for (let round = 0; round < 3; round += 1) {
        const batch = Array.from({ length: 1_000 }, (_, index) =>
          message({ properties: { [`key ${round} ${index}`]: "ada@example.org" } }),
        );
        await ingest(db, batch);
      }
      expect(await db.rows("select count(*)::int as rows, sum(found)::int as found from track.found_data")).toEqual([
        { rows: 2_001, found: 3_000 },
      ]);
    });
  });

  test("the settings of a session change nothing", async () => {
    await under("mask", async (db) => {
      await db.query(
        "set local standard_conforming_strings to off; set local timezone to 'Asia/Tokyo'; set local datestyle to 'SQL, DMY'; set local search_path to ''; set local lc_messages to 'C'",
      );
      await ingest(db, [message({ properties: { comment: "ada@example.org\\ +49 170 1234567" } })]);
      expect(await db.value("select properties ->> 'comment' from track.event")).toBe("[e-mail]\\ [phone]");
    });
  });
});
