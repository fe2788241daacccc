import type { WithPgClient } from "postgraphile/@dataplan/pg";
import "postgraphile/grafast";
import { logTableReads } from "./table-reads.ts";

/**
 * Row policies compare `person_id` with the setting `insights.person_id`, which only the database can derive from the
 * token's subject. So the first transaction of a request that has a person starts with `track.sign_in()`, after its
 * role and settings are set and before anything is read. A request may have many transactions, one for each list at its
 * root: those that start when the person is known get it from the settings.
 *
 * A request keeps the person that it started with: after a concurrent merge, its lists may be empty.
 */
const signIn = {
  text: "select track.sign_in() as person_id, current_setting('citus.propagate_set_commands', true) is not null as distributed",
  name: "insights_sign_in",
};

/** Settings of requests on a cluster of Citus: each transaction signs in, because the workers need the person, too. */
const distributed = new WeakSet<object>();

function withPerson(withPgClient: WithPgClient): WithPgClient {
  return ((pgSettings, callback) => {
    // Decided before the transaction gets its settings: another transaction may resolve the person while this one waits
    // for a connection.
    const unknown =
      pgSettings?.["insights.person"] && (!pgSettings["insights.person_id"] || distributed.has(pgSettings));
    return withPgClient(pgSettings, async (client) => {
      if (pgSettings && unknown) {
        const { rows } = await client.query<{ person_id: string | number | null; distributed: boolean }>(signIn);
        if (rows[0]?.distributed === true) distributed.add(pgSettings);
        const found = rows[0]?.person_id;
        // An unknown userId may become a person through what the request itself sends.
        if (found != null) pgSettings["insights.person_id"] = String(found);
      }
      return callback(client);
    });
  }) as WithPgClient;
}

/**
 * Wraps the objects by which the context of a request reaches the database, so that an application's own `pgServices`
 * need no change.
 */
export const PersonPlugin: GraphileConfig.Plugin = {
  name: "InsightsPersonPlugin",
  version: "1.0.0",
  grafast: {
    middleware: {
      prepareArgs: {
        after: ["PgContextPlugin"],
        callback(next, { args }) {
          const context = args.contextValue as unknown as Record<string, unknown>;
          for (const { schemas, withPgClientKey } of args.resolvedPreset?.pgServices ?? []) {
            if (schemas?.includes("track"))
              context[withPgClientKey] = logTableReads(withPerson(context[withPgClientKey] as WithPgClient));
          }
          // An application may pass the same object again: nothing is kept from an earlier request.
          const pgSettings = context["pgSettings"] as Record<string, string> | undefined;
          if (pgSettings?.["insights.person"]) pgSettings["insights.person_id"] = "";
          return next();
        },
      },
    },
  },
};
