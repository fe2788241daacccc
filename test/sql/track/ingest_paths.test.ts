import { describe, expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();

const worker = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("insights_worker", {}, work);

const normal = (path: string, rule?: string, kept = "{id}"): Promise<string> =>
  database.value(
    "select track._path_item($1, coalesce($2::text[], (select path_rule from track.setting)), $3::text[])",
    [path, rule ?? null, kept],
  );

const items = (db: Queries): Promise<string[]> =>
  db.value("select coalesce(array_agg(external_id order by external_id collate \"C\"), '{}') from track.item");

const page = (path: string, fields = {}) =>
  message({ type: "page", event: undefined, context: { page: { path } }, ...fields });

const spellings: [string, string][] = [
  ["/", "/"],
  ["//", "/"],
  ["/courses/7", "/courses/7"],
  ["/courses/7/", "/courses/7"],
  ["/courses/7//", "/courses/7"],
  ["/courses//7/", "/courses/7"],
  ["/courses/7?", "/courses/7"],
  ["/courses/7?utm_source=mail&utm_medium=x", "/courses/7"],
  ["/courses/7/?page=2#section-3", "/courses/7"],
  ["/courses/7#section-3", "/courses/7"],
  ["#top", "/"],
  ["?x=1", "/"],
  ["/#/courses/7", "/#/courses/7"],
  ["/app/#!/courses/7?id=1", "/app#!/courses/7?id=1"],
  ["/course/view.php?id=7", "/course/view.php?id=7"],
  ["/course/view.php?section=2&id=7&sesskey=secret", "/course/view.php?id=7"],
  ["/course/view.php?id=7&id=7", "/course/view.php?id=7"],
  ["/course/view.php?id=%37", "/course/view.php?id=7"],
  ["/course/view.php?xid=7&ID=8", "/course/view.php"],
  ["https://Campus.Example/courses/7/", "/courses/7"],
  ["HTTP://campus.example:8080", "/"],
  ["https://campus.example?x=1", "/"],
  ["https://campus.example/?id=3", "/?id=3"],
  ["https://user:secret@campus.example/courses/7", "/courses/7"],
  ["/courses/7/index.html", "/courses/7"],
  ["/index.php", "/"],
  ["/index.php?id=4", "/?id=4"],
  ["/courses/Default.aspx", "/courses"],
  ["/courses/index.html/index.html", "/courses"],
  ["/courses/index.html/", "/courses"],
  ["/courses/reindex.html", "/courses/reindex.html"],
  ["/index.php/courses/7", "/index.php/courses/7"],
  ["/%7Eada/", "/~ada"],
  ["/caf%c3%a9", "/caf%C3%A9"],
  ["/a%2fb", "/a%2Fb"],
  ["/a%2", "/a%2"],
  ["/a%zz%41", "/a%zzA"],
  ["/a%3Fb", "/a%3Fb"],
  ["/a%2525", "/a%2525"],
  ["/a/./b", "/a/b"],
  ["/a/../b", "/b"],
  ["/a/b/..", "/a"],
  ["/../../etc", "/etc"],
  ["/a/%2e%2E/b", "/b"],
  ["/a/..b/.c", "/a/..b/.c"],
  ["../a/", "a"],
  ["courses/7/", "courses/7"],
  ["mailto:ada@campus.example", "mailto:ada@campus.example"],
];

describe("the default rule", () => {
  test.each(spellings)("%s is %s", async (path, expected) => {
    expect(await normal(path)).toBe(expected);
    // Applied again, it changes nothing.
    expect(await normal(expected)).toBe(expected);
  });

  test("its result is normal for any composition of parts", async () => {
    const parts = [
      "/",
      "//",
      "/.",
      "/..",
      "/a",
      "/index.html",
      "/default.ASPX/",
      "?id=1",
      "&id=%31",
      "#x",
      "#/y",
      "%2e",
      "%2F",
      "b",
    ];
    const paths: string[] = [];
    for (const a of parts)
      for (const b of parts) for (const c of parts) paths.push(`/${a}${b}${c}`, `https://H${a}${b}${c}`);
    const changed = await database.rows(
      `select path, once, twice
       from unnest($1::text[]) as path, track.setting,
         track._path_item(path, path_rule, kept_parameters) as once,
         track._path_item(once, path_rule, kept_parameters) as twice
       where once <> twice or once = ''`,
      [paths],
    );
    expect(changed).toEqual([]);
  });

  test("long and hostile paths take bounded time and give 512 characters at most", async () => {
    for (const part of ["/..", "/a", "/.", "%2e", "//", "/index.html", "?", "&id=", "#"]) {
      const path = `/${part.repeat(200_000)}`;
      expect((await normal(path)).length).toBeLessThanOrEqual(512);
    }
    expect(await normal(`/${"a/".repeat(500)}`)).toBe(`/${"a/".repeat(500)}`.slice(0, 512));
  });
});

test("each step can be left out", async () => {
  const path = "https://Campus.Example//a/./%7eB/index.html/?x=1&id=2#here";
  const steps = ["host", "query", "fragment", "encoding", "slashes", "dots", "index", "trailing_slash"];
  const without = (step: string): Promise<string> =>
    normal(path, `{${steps.filter((other) => other !== step).join(",")}}`);
  expect(await normal(path)).toBe("/a/~B?id=2");
  expect(await without("host")).toBe("https://campus.example/a/~B?id=2");
  expect(await without("query")).toBe("/a/~B?x=1&id=2");
  expect(await without("fragment")).toBe("/a/~B?id=2#here");
  expect(await without("encoding")).toBe("/a/%7eB?id=2");
  expect(await without("slashes")).toBe("//a/~B?id=2");
  expect(await without("dots")).toBe("/a/./~B?id=2");
  expect(await without("index")).toBe("/a/~B/index.html?id=2");
  expect(await without("trailing_slash")).toBe("/a/~B/?id=2");
  expect(await normal(path, "{}")).toBe(path);
  expect(await normal(path, undefined, "{id,x}")).toBe("/a/~B?id=2&x=1");
  expect(await normal(path, undefined, "{}")).toBe("/a/~B");
  expect(await database.rejects("update track.setting set path_rule = '{slash}'")).toMatchObject({ code: "23514" });
});

test("two spellings of a path are one item", async () => {
  await worker(async (db) => {
    await ingest(db, [
      page("/courses/7/"),
      page("/courses/7"),
      page("/"),
      message({ type: "page", event: undefined, properties: { path: "/courses/7/index.html" } }),
      message({
        type: "page",
        event: undefined,
        properties: { url: "https://campus.example/courses/7?utm_source=mail" },
      }),
      message({ type: "page", event: undefined, context: { page: { url: "https://campus.example/courses/8#top" } } }),
    ]);
    expect(await items(db)).toEqual(["/", "/courses/7", "/courses/8"]);
    expect(await db.value("select bool_and(kind = 'page') from track.item")).toBe(true);
  });
});

test("an item that a message names is not changed, and what the client sent is kept", async () => {
  await worker(async (db) => {
    await ingest(db, [
      message({ properties: { item: "/courses/7/?x=1" } }),
      message({ type: "page", event: undefined, properties: { item: "https://A/", path: "/b/" } }),
      message({ type: "screen", event: undefined, name: "/Settings/" }),
      message({ type: "page", event: undefined, properties: { path: "/c/?x=1" } }),
    ]);
    expect(await items(db)).toEqual(["/Settings/", "/c", "/courses/7/?x=1", "https://A/"]);
    await db.query("reset role");
    expect(
      await db.value(
        "select properties ->> 'path' from track.event join track.item using (item_id) where external_id = '/c'",
      ),
    ).toBe("/c/?x=1");
  });
});

test("a source may have a rule and parameters of its own", async () => {
  await worker(async (db) => {
    const from = async (source: string, path: string) => {
      await db.query("select set_config('insights.source', $1, true)", [source]);
      await ingest(db, [page(path)]);
    };
    await from("docs", "/a");
    await from("shop", "/b");
    await db.query("set local role insights_admin");
    await db.query("update track.source set path_rule = '{query}' where name = 'docs'");
    await db.query("update track.source set kept_parameters = '{product,lang}' where name = 'shop'");
    await db.query("set local role insights_worker");
    await from("docs", "/c/?id=5&x=1#top");
    await from("shop", "/d/?lang=de&id=5&product=3");
    await from("other", "/e/?id=5&x=1#top");
    expect(await items(db)).toEqual(["/a", "/b", "/c/?id=5#top", "/d?lang=de&product=3", "/e?id=5"]);
  });
});
