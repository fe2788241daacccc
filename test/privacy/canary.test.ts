import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { cookieOf, makeCanary, makeCanaryWorld, messagesOf, placesOf, refusedOf, userOf } from "../support/canary.ts";
import { testDatabase } from "../support/database.ts";

/*
 * A unique word in every field of every kind of message, and in all that is written about the person: after her erasure
 * it is nowhere in the database but in the places that docs/privacy.md names.
 */
const database = await testDatabase();
await makeCanaryWorld(database);
await makeCanary(database, "kanari");

/** All texts of a value, keys included. */
function textsOf(value: unknown): string[] {
  if (typeof value === "string") return [value];
  if (Array.isArray(value)) return value.flatMap(textsOf);
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).flatMap(([key, part]) => [key, ...textsOf(part)]);
  }
  return [];
}

const wordsOf = (value: unknown): Set<string> =>
  new Set(textsOf(value).flatMap((text) => text.match(/kanari[ _-][a-z-]+/g) ?? []));

/*
 * Names that an administrator has renamed or merged: what they mean is decided by the application from then on, and the
 * log of these changes names them.
 */
const documented = [
  "privacy.disclosure.read_by",
  "track.event_type.name",
  "track.item.external_id",
  "track.name_log.name",
  "track.name_log.target",
];

test("the word is found where it was put, so that the search can be trusted", async () => {
  expect(await placesOf(database, "kanari")).toEqual(
    expect.arrayContaining([
      ...documented,
      "analytics.annotation.created_by",
      "analytics.cohort.defined_by",
      "analytics.intervention.created_by",
      "analytics.intervention.note",
      "analytics.saved_query.arguments",
      "analytics.saved_query.created_by",
      "insights_queue._private_jobs.last_error",
      "insights_queue._private_jobs.payload",
      "ml.embedding.key",
      "ml.score.keys",
      "monitor.run.detail",
      "monitor.run.error",
      "privacy.consent.document_version",
      "privacy.consent.evidence",
      "privacy.export_log.exported_by",
      "recommend.dismissed_topic.topic",
      "recommend.rule_log.actor",
      "track.client_document.place",
      "track.event.properties",
      "track.exclusion.excluded_by",
      "track.exclusion.note",
      "track.identity.external_id",
      "track.item.kind",
      "track.item.title",
      "track.item.url",
      "track.name_log.actor",
      "track.named_item.kind",
      "track.named_item.title",
      "track.property_value.value",
      "track.statement.statement",
      "track.trait.name",
      "track.trait.value",
      "track.trait_history.name",
      "track.trait_history.value",
      "track.write_key_log.actor",
    ]),
  );
});

test("each place is in the data map as one that holds data of people", async () => {
  const known = await database.rows<{ place: string }>(
    "select concat_ws('.', schema_name, table_name, column_name) as place from privacy.data_map where holds <> 'none'",
  );
  const places = new Set(known.map(({ place }) => place));
  expect((await placesOf(database, "kanari")).filter((place) => !places.has(place))).toEqual([]);
});

test("nothing of a refused message is stored", async () => {
  const accepted = wordsOf(messagesOf("kanari"));
  const refused = [...wordsOf(refusedOf("kanari"))].filter((word) => !accepted.has(word) && word !== userOf("kanari"));
  expect(refused.length).toBeGreaterThan(10);
  expect(await placesOf(database, refused.join("|")), refused.join(", ")).toEqual([]);
  // They were refused, each of them, and are counted.
  expect(await database.value("select sum(messages)::int from track.refusal")).toBeGreaterThanOrEqual(
    refusedOf("kanari").length,
  );
});

test("of the context, only the page, the time zone and the traits are stored", async () => {
  const fields = [
    "ip",
    "agent",
    "locale",
    "campaign",
    "device",
    "library",
    "ctx",
    "deep",
    "integration",
    "field",
    "message",
  ];
  expect(await placesOf(database, `kanari-(${fields.join("|")})|kanari[.]example`)).toEqual([]);
  // Nor is a preference about a purpose that does not exist.
  expect(await placesOf(database, "kanari-category|kanari-preference|kanari_purpose")).toEqual([]);
});

test("after the erasure the word is nowhere but in the documented places", async () => {
  // The data of another person, which must not change.
  const others = async (): Promise<object> => {
    const { data } = await database.value<{ data: Record<string, unknown> }>("select privacy.export_person('cleo')");
    return { ...data, "privacy.export_log": [], "privacy.disclosure": [] };
  };
  const before = await others();
  await database.query("select privacy.erase_person($1)", [userOf("kanari")]);

  // Two browsers are not proven to be hers: one that nobody signed in on, and one that she named without its cookie.
  const unproven = ["kanari-claimed", "kanari-visitor"];
  expect(
    (await database.rows("select external_id from track.identity where external_id ~ 'kanari' order by 1")).map(
      ({ external_id }) => external_id,
    ),
  ).toEqual(unproven);
  for (const name of unproven) await database.query("select privacy.erase_person($1)", [name]);

  expect((await placesOf(database, "kanari")).filter((place) => !documented.includes(place))).toEqual([]);
  const uuid = cookieOf("kanari").replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
  expect(await placesOf(database, uuid)).toEqual([]);
  expect(await others()).toEqual(before);
  await expect(database.query("select privacy.export_person($1)", [userOf("kanari")])).rejects.toMatchObject({
    code: "CF002",
  });
});

test("the documented places have the names alone that an administrator changed", async () => {
  const words = new Set<string>();
  for (const place of documented) {
    const [schema, table, column] = place.split(".");
    for (const { value } of await database.rows<{ value: string }>(
      `select "${column}" as value from "${schema}"."${table}" where "${column}" ~ 'kanari'`,
    )) {
      words.add(value);
    }
  }
  expect([...words].sort()).toEqual(["kanari new event", "kanari old event", "kanari-merged-item", "kanari-user"]);
});

test("the same messages, sent again, are refused, and leave nothing", async () => {
  const before = await placesOf(database, "kanari");
  const result = await database.rows("select accepted, rejected from track.ingest($1)", [
    JSON.stringify([...messagesOf("kanari"), ...refusedOf("kanari")]),
  ]);
  expect(result).toEqual([{ accepted: 0, rejected: messagesOf("kanari").length + refusedOf("kanari").length }]);
  expect(await placesOf(database, "kanari")).toEqual(before);
});

const dump = spawnSync("pg_dump", ["--version"], { encoding: "utf8" }).stdout ?? "";
const server = database.native
  ? await database.value<number>("select current_setting('server_version_num')::int / 10000")
  : 99;

test.skipIf(Number(/ (\d+)/.exec(dump)?.[1] ?? 0) < server)(
  "a dump has the word in the documented tables alone",
  () => {
    const { stdout, status } = spawnSync("pg_dump", ["--dbname", database.url()], {
      encoding: "utf8",
      maxBuffer: 2 ** 30,
    });
    expect(status).toBe(0);
    const found = new Set<string>();
    let table = "";
    for (const line of stdout.split("\n")) {
      table = /^COPY (\S+)/.exec(line)?.[1] ?? table;
      if (line.toLowerCase().includes("kanari")) found.add(table);
    }
    expect([...found].sort()).toEqual([...new Set(documented.map((place) => place.replace(/\.[a-z_]+$/, "")))].sort());
  },
);
