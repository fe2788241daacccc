import type { PgClient, WithPgClient } from "postgraphile/@dataplan/pg";

/*
 * The functions that return the record of a person log it themselves (`privacy.disclosure`). A table cannot: when an
 * administrator reads the tables of people through their fields, the API records which tables each statement names, in the
 * same transaction and before it runs.
 */

/** Tables and functions that a statement of PostGraphile names, with their schemas. */
export function namesIn(text: string): string[] {
  return [
    ...new Set(
      [...text.matchAll(/"?\b([a-z_]+)"?\."?([a-z][a-z0-9_]*)\b"?/g)].map(([, room, name]) => `${room}.${name}`),
    ),
  ];
}

function logged<Client extends PgClient>(client: Client): Client {
  return Object.create(client, {
    query: {
      async value(query: Parameters<Client["query"]>[0]) {
        await client.query({ text: "select privacy.record_table_reads($1)", values: [namesIn(query.text)] });
        return await client.query(query);
      },
    },
    withTransaction: {
      value: (work: (inner: PgClient) => Promise<unknown>) => client.withTransaction((inner) => work(logged(inner))),
    },
  }) as Client;
}

export function logTableReads<Client extends PgClient>(withPgClient: WithPgClient<Client>): WithPgClient<Client> {
  const recorded: WithPgClient<Client> = (pgSettings, callback) =>
    withPgClient(pgSettings, (client) => callback(pgSettings?.["role"] === "insights_admin" ? logged(client) : client));
  if (withPgClient.release) recorded.release = () => withPgClient.release?.();
  return recorded;
}
