import { afterAll } from "vitest";
import { type Role, signToken } from "../../src/api/authentication.ts";
import { type Api, startApi } from "../../src/api/server.ts";
import { readConfig } from "../../src/config.ts";
import type { Database } from "../../src/database/connect.ts";
import type { TestDatabase } from "./database.ts";

export const secret = "a key for tests, longer than 32 characters";

export interface GraphqlError {
  message: string;
  path?: (string | number)[];
  extensions: { code?: string; hint?: string; errorId?: string };
}

export interface Answer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: the shape is what the test asked for
  data: any;
  errors: GraphqlError[];
}

export interface TestApi {
  readonly api: Api;
  readonly url: string;
  /** A token of the test's server. */
  token(role: Role, person?: string, source?: string): Promise<string>;
  /** Sends a request as a role and person, in the form `visitor` or `learner:ada`. */
  ask(who: string, query: string, variables?: Record<string, unknown>): Promise<Answer>;
  /** Sends a body and headers unchanged. */
  post(body: string, headers?: Record<string, string>): Promise<Response>;
}

/** The database of the test, as the commands would describe it. */
export function asDatabase(database: TestDatabase): Database {
  return {
    url: database.url(),
    embedded: !database.native,
    pooler: !database.native,
    own: false,
    close: async () => {},
  };
}

/** The API on the test's database and a port of its own, until the end of the file. */
export async function testApi(database: TestDatabase, variables: Record<string, string> = {}): Promise<TestApi> {
  const config = readConfig({
    DATABASE_URL: database.url(),
    PORT: "0",
    INSIGHTS_JWT_SECRET: secret,
    INSIGHTS_POOL_SIZE: "3",
    ...variables,
  });
  const api = await startApi(config, asDatabase(database));
  afterAll(() => api.close());
  const token = (role: Role, person?: string, source?: string): Promise<string> =>
    signToken({ role, person, source }, { secret });
  const post = (body: string, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(`${api.url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body,
    });
  return {
    api,
    url: api.url,
    token,
    post,
    async ask(who, query, values) {
      const [role, person] = who.split(":") as [Role, string | undefined];
      const headers: Record<string, string> =
        role === "visitor" ? {} : { authorization: `Bearer ${await token(role, person)}` };
      const response = await post(JSON.stringify({ query, variables: values }), headers);
      const { data, errors = [] } = (await response.json()) as { data?: unknown; errors?: GraphqlError[] };
      return { status: response.status, data, errors };
    },
  };
}
