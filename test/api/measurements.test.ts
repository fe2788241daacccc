import { expect, test } from "vitest";
import { signToken } from "../../src/api/authentication.ts";
import { countElements } from "../../src/api/measurements.ts";
import { startApi } from "../../src/api/server.ts";
import { readConfig } from "../../src/config.ts";
import { asDatabase, secret } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";

const database = await testDatabase();

test.each([
  ["[]", 0],
  [" [ ] ", 0],
  ["[1]", 1],
  ["[{}]", 1],
  ['[{"a":[1,2,3]},{"b":","}]', 2],
  ['["[,,]","\\",",3]', 3],
  ['{"a":1,"b":2}', 0],
  ['"a,b"', 0],
  ["", 0],
  ["][,", 0],
])("%s has %s elements", (json, elements) => {
  expect(countElements(json)).toBe(elements);
});

test("requests are measured by field of the schema or route, and nothing that a client names is an operation", async () => {
  const config = readConfig({ DATABASE_URL: database.url(), PORT: "0", INSIGHTS_JWT_SECRET: secret });
  const api = await startApi(config, asDatabase(database));
  const admin = {
    authorization: `Bearer ${await signToken({ role: "admin", person: "root", source: undefined }, { secret })}`,
  };
  const post = async (body: object, headers: Record<string, string> = {}): Promise<void> => {
    const response = await fetch(`${api.url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json", "user-agent": "evil_agent", ...headers },
      body: JSON.stringify(body),
    });
    await response.text();
  };
  const message = (event: string) => ({ type: "track", event, anonymousId: "evil_person", messageId: event });
  const ingest =
    "mutation evil_name($batch: JSON!) { evil_alias: trackIngest(input: {batch: $batch}) { result { accepted } } }";
  try {
    await post({ query: ingest, variables: { batch: [message("a"), message("b")] } });
    await post({ query: ingest, variables: { batch: JSON.stringify([message("c")]) } });
    await post({
      query:
        "mutation ($input: TrackIngestInput!) { ...evil_fragment } fragment evil_fragment on Mutation { trackIngest(input: $input) { clientMutationId } }",
      variables: { input: { batch: [message("d"), message("e"), message("f")], clientMutationId: "evil_id" } },
    });
    // Refused as a whole: not counted as messages.
    await post({ query: ingest, variables: { batch: "[,,,,]" } });
    await post({ query: "query evil_query { evil_field }", operationName: "evil_query" });
    await post({ query: "{ evil_one: trackPeople { totalCount } evil_two: mlModels { totalCount } }" }, admin);
    await post({ query: "{ evil_one: __typename evil_two: __typename }" });
    await post({ query: "{ __schema { types { name } } }" }, admin);
    await post({ query: "evil {" });
    await post({ query: ingest }, { authorization: "Bearer evil.token.x" });
    for (const path of [
      "/healthz",
      "/evil_path",
      "/me?evil=1",
      "/",
      "/queries",
      "/api/features/evil_key",
      "/constructor",
    ])
      await (await fetch(`${api.url}${path}`, { method: "GET" })).text();
  } finally {
    await api.close();
  }
  expect(
    await database.rows(
      `select operation, calls::int, failures::int, messages::int, mean_ms > 0 and p50_ms > 0 as measured
       from monitor.latencies() order by operation collate "C"`,
    ),
  ).toEqual([
    { operation: "/", calls: 2, failures: 0, messages: 0, measured: true },
    { operation: "/healthz", calls: 1, failures: 0, messages: 0, measured: true },
    { operation: "/me", calls: 1, failures: 0, messages: 0, measured: true },
    { operation: "introspection", calls: 2, failures: 0, messages: 0, measured: true },
    { operation: "several fields", calls: 1, failures: 0, messages: 0, measured: true },
    { operation: "trackIngest", calls: 4, failures: 0, messages: 6, measured: true },
  ]);
});
