import { expect, test } from "vitest";
import { testApi } from "../../support/api.ts";
import { makeCanary, makeCanaryWorld, userOf } from "../../support/canary.ts";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();
await makeCanaryWorld(database);
await makeCanary(database, "kanari");
const { ask } = await testApi(database);

interface Document {
  exported_at: string;
  index: { table: string }[];
  data: Record<string, unknown>;
}

const comparable = ({ data, index }: Document): object => ({
  data: { ...data, "privacy.export_log": [], "privacy.disclosure": [] },
  tables: index.map(({ table }) => table),
});

test("a learner gets by the API what an administrator gets about her, and it is logged", async () => {
  const exports = () => database.value<number>("select count(*)::int from privacy.export_log");
  const before = await exports();
  const { data, errors } = await ask(`learner:${userOf("kanari")}`, "{ privacyExportMe }");
  expect(errors).toEqual([]);
  expect(await exports()).toBe(before + 1);
  const document = await database.value<Document>("select privacy.export_person($1)", [userOf("kanari")]);
  const mine: Document =
    typeof data.privacyExportMe === "string" ? JSON.parse(data.privacyExportMe) : data.privacyExportMe;
  expect(comparable(mine)).toEqual(comparable(document));
});

test("a browser is not a proof: the name of an anonymous person opens nothing", async () => {
  for (const name of ["kanari-visitor", "kanari-browser", "kanari-claimed", "unknown"]) {
    const { errors } = await ask(`learner:${name}`, "{ privacyExportMe }");
    expect(errors[0], name).toMatchObject({ extensions: { code: "CF002" } });
  }
  const { errors } = await ask("visitor", "{ privacyExportMe }");
  expect(errors).toHaveLength(1);
  expect(JSON.stringify(errors)).not.toContain("kanari");
});

test("a browser that is named like another person or an item gives nothing of theirs", async () => {
  // The client chooses the id of its browser: here it is a user, an administrator, a login and an item.
  const browsers = ["ben", userOf("kanari"), "root", "postgres", "course-drama"];
  await ask("admin:root", `{ privacyExportPerson(person: "${userOf("kanari")}") }`);
  await ask("admin:root", `mutation { trackExcludePerson(input: {person: "gus", reason: "test"}) { result } }`);
  for (const [number, anonymousId] of browsers.entries()) {
    const message = { type: "identify", messageId: `mallory-${number}`, userId: "mallory", anonymousId };
    await database.query("select track.ingest($1)", [JSON.stringify([message])]);
  }
  const { data, errors } = await ask("learner:mallory", "{ privacyExportMe }");
  expect(errors).toEqual([]);
  const mine: Document & { person: { name: string }[] } =
    typeof data.privacyExportMe === "string" ? JSON.parse(data.privacyExportMe) : data.privacyExportMe;
  expect(mine.person.map(({ name }) => name).sort()).toEqual([...browsers, "mallory"].sort());
  const { person: _, ...rest } = mine;
  expect(Object.keys(rest.data).filter((table) => /^(ml|analytics|recommend|privacy)\.|_log$/.test(table))).toEqual([]);
  expect(JSON.stringify(rest)).not.toContain("kanari-review");
  for (const table of ["track.identity", "track.identity_link", "track.person", "track.person_set_block"]) {
    delete rest.data[table];
  }
  expect(Object.keys(rest.data).filter((table) => table !== "track.changed")).toEqual([]);
});

test("an administrator exports a person by the API, nobody else", async () => {
  const query = `{ privacyExportPerson(person: "${userOf("kanari")}") }`;
  const { data, errors } = await ask("admin:root", query);
  expect(errors).toEqual([]);
  expect(JSON.stringify(data)).toContain("kanari-review");
  for (const who of ["visitor", `learner:${userOf("kanari")}`, "instructor:ben", "analyst:ben"]) {
    const answer = await ask(who, query);
    expect(answer.errors, who).toHaveLength(1);
    expect(JSON.stringify(answer.data ?? {}), who).not.toContain("kanari");
  }
});

test("without a person, and by role", async () => {
  await database.as("insights_learner", {}, async (db) =>
    expect(await db.rejects("select privacy.export_me()")).toMatchObject({ code: "CF005" }),
  );
  expect(await rolesThatMay(database, "select privacy.export_me()")).toEqual(["learner", "instructor"]);
});
