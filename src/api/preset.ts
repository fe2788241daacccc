import { PgSimplifyInflectionPreset } from "@graphile/simplify-inflection";
import { listOfCodec, type PgCodec, TYPES } from "postgraphile/@dataplan/pg";
import { makePgService } from "postgraphile/adaptors/pg";
import { SafeError } from "postgraphile/grafast";
import { BREAK, GraphQLError, parse, type ValidationContext, type ValidationRule, visit } from "postgraphile/graphql";
import { sql } from "postgraphile/pg-sql2";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";
import "postgraphile/grafserv/node";
import type pg from "pg";
import { type Authenticate, AuthenticationError, requestSettings, type Sender, visitor } from "./authentication.ts";
import { callers, createGate, type Gate, hangUps, takeTurns, wasBusy } from "./connections.ts";
import { maskError, withoutSuggestions } from "./errors.ts";
import { readHeaders } from "./headers.ts";
import { LimitsPlugin, limits } from "./limits.ts";
import { applyOperation, type Operations, viewOperations } from "./operations.ts";
import { PersonPlugin } from "./person.ts";
import { rooms } from "./rooms.ts";

export { type Client, createAuthenticate, type Identity, requestSettings, type Sender } from "./authentication.ts";
export { rooms } from "./rooms.ts";

declare global {
  namespace GraphileConfig {
    interface Preset {
      insights?: {
        /** The sender of a request, by its header `Authorization`. */
        authenticate?: Authenticate;
        /** Whether every role may use introspection (`__schema`, `__type`); without it, administrators only. */
        introspection?: boolean;
        /** Persisted operations; visitors, learners and instructors may send no others. */
        operations?: () => Operations | undefined;
      };
    }
  }
}

function keep<T>(list: T[], wanted: (element: T) => boolean): void {
  list.splice(0, list.length, ...list.filter(wanted));
}

/** Functions are published by their grants; this excludes those that cannot be published or are internal. */
const RoomsPlugin: GraphileConfig.Plugin = {
  name: "InsightsRoomsPlugin",
  version: "1.0.0",
  inflection: {
    replace: {
      // The first schema would otherwise get no prefix.
      _schemaPrefix(_previous, _options, { pgNamespace }) {
        return pgNamespace.nspname === "public" ? "" : `${pgNamespace.nspname}_`;
      },
    },
  },
  gather: {
    hooks: {
      pgIntrospection_introspection(_info, { introspection }) {
        const { namespaces, types, attributes } = introspection;
        const inRooms = new Set(namespaces.filter(({ nspname }) => rooms.includes(nspname)).map(({ _id }) => _id));
        // GraphQL has no type for a vector, and clients do not need one.
        const vectors = new Set(
          types.filter(({ typname }) => /^_?(vector|halfvec|sparsevec)$/.test(typname)).map(({ _id }) => _id),
        );
        const holders = new Set(
          attributes.filter(({ atttypid }) => vectors.has(atttypid)).map(({ attrelid }) => attrelid),
        );
        for (const { _id, typrelid } of types) if (typrelid !== null && holders.has(typrelid)) vectors.add(_id);
        for (const { _id, typelem } of types) if (typelem !== null && vectors.has(typelem)) vectors.add(_id);

        // Nor has it one for an argument of any type.
        const excluded = new Set([
          ...vectors,
          ...types.filter(({ typname }) => /^any(array|element)?$/.test(typname)).map(({ _id }) => _id),
        ]);

        // Comments start and end with the line breaks of their quotes.
        for (const comment of introspection.descriptions) comment.description = comment.description.trim();

        keep(introspection.procs, ({ pronamespace, proname, prorettype, proargtypes, proallargtypes }) => {
          if (!inRooms.has(pronamespace)) return true;
          const mentioned = [prorettype, ...(proargtypes ?? []), ...(proallargtypes ?? [])];
          return !proname.startsWith("_") && !mentioned.some((type) => excluded.has(type));
        });
        // Partitions are created and dropped over time; the API must not change with them.
        keep(introspection.classes, ({ _id, relispartition }) => !relispartition && !holders.has(_id));
      },
    },
  },
};

/**
 * A big table has its foreign keys as tags too, for databases where it is distributed and has no constraints: each
 * counts once.
 */
const ForeignKeysPlugin: GraphileConfig.Plugin = {
  name: "InsightsForeignKeysPlugin",
  version: "1.0.0",
  gather: {
    hooks: {
      pgIntrospection_introspection: {
        after: ["InsightsRoomsPlugin"],
        before: ["PgFakeConstraintsPlugin"],
        callback(_info, { introspection }) {
          for (const pgClass of introspection.classes) {
            const { tags } = pgClass.getTagsAndDescription();
            if (tags["foreignKey"] === undefined) continue;
            const constrained = pgClass
              .getConstraints()
              .filter(({ contype }) => contype === "f")
              .map((key) => `(${key.getAttributes()?.map((column) => column.attname)}) references `);
            tags["foreignKey"] = [tags["foreignKey"]]
              .flat()
              .map(String)
              .filter((tag) => !constrained.some((start) => tag.startsWith(start)));
          }
        },
      },
    },
  },
};

/**
 * The batch of `track.ingest` is sent to the database as a JSON string that contains JSON. The function parses such a
 * string message by message, so that a message that PostgreSQL cannot store (a null byte, an unpaired surrogate) is
 * rejected alone.
 */
const batchCodec: PgCodec = {
  ...TYPES.jsonb,
  name: "trackBatch",
  toPg: (batch: unknown) => JSON.stringify(typeof batch === "string" ? batch : JSON.stringify(batch)),
};

const BatchPlugin: GraphileConfig.Plugin = {
  name: "InsightsBatchPlugin",
  version: "1.0.0",
  gather: {
    hooks: {
      pgProcedures_PgResourceOptions(_info, { pgProc, resourceOptions }) {
        if (pgProc.proname !== "ingest" || pgProc.getNamespace()?.nspname !== "track") return;
        resourceOptions.parameters = resourceOptions.parameters?.map((parameter) => ({
          ...parameter,
          codec: batchCodec,
        }));
      },
    },
  },
  schema: {
    hooks: {
      init(_, build) {
        build.setGraphQLTypeForPgCodec(batchCodec, ["input", "output"], build.inflection.builtin("JSON"));
        return _;
      },
    },
  },
};

/**
 * A function that logs what it reads is volatile, and a query for clients, which its tag `+queryField` states: it is read
 * by pages as every other query. Each statement is committed before its rows are returned, with the log.
 */
const LoggedReadsPlugin: GraphileConfig.Plugin = {
  name: "InsightsLoggedReadsPlugin",
  version: "1.0.0",
  gather: {
    hooks: {
      pgProcedures_PgResourceOptions(_info, { pgProc, resourceOptions }) {
        const { behavior } = pgProc.getTagsAndDescription().tags;
        if (resourceOptions.isMutation && [behavior].flat().join(" ").split(/\s+/).includes("+queryField")) {
          resourceOptions.isMutation = false;
        }
      },
    },
  },
};

/** A time may be infinite, which PostGraphile's own format turns into null. */
const timeCodec: typeof TYPES.timestamptz = {
  ...TYPES.timestamptz,
  castFromPg: (time) => sql`coalesce(to_char(${time}, 'YYYY-MM-DD"T"HH24:MI:SS.USTZH:TZM'), ${time}::text)`,
};

const timesCodec = listOfCodec(timeCodec);

const InfinityPlugin: GraphileConfig.Plugin = {
  name: "InsightsInfinityPlugin",
  version: "1.0.0",
  gather: {
    hooks: {
      pgCodecs_findPgCodec: {
        before: ["PgCodecsPlugin"],
        callback(_info, event) {
          if (event.pgType.getNamespace()?.nspname !== "pg_catalog") return;
          if (event.pgType.typname === "timestamptz") event.pgCodec = timeCodec;
          if (event.pgType.typname === "_timestamptz") event.pgCodec = timesCodec;
        },
      },
    },
  },
  schema: {
    hooks: {
      init(_, build) {
        build.setGraphQLTypeForPgCodec(timeCodec, ["input", "output"], build.inflection.builtin("Datetime"));
        return _;
      },
    },
  },
};

/** The sender of a request whose token and write key the server has verified before it reads the body. */
export const identified = new WeakMap<object, Sender>();

/** Keyed by request, so that requests are isolated from each other. */
const identities = new WeakMap<object, Sender>();
const settings = new WeakMap<object, object>();

/**
 * Whether an operation uses introspection. A name has one spelling in GraphQL, so that a text without it need not be
 * parsed.
 */
function introspects(query: unknown): boolean {
  if (typeof query !== "string" || !/\b__(schema|type)\b/.test(query)) return false;
  let found = false;
  try {
    visit(parse(query), {
      Field({ name: { value } }) {
        found ||= value === "__schema" || value === "__type";
        return found ? BREAK : undefined;
      },
    });
  } catch {
    // PostGraphile reports the error.
  }
  return found;
}

/** A validation rule whose errors do not suggest names. */
function quietly(rule: ValidationRule): ValidationRule {
  return (context) => {
    const quiet = Object.create(context) as ValidationContext;
    quiet.reportError = ({ message, nodes, extensions }) =>
      context.reportError(new GraphQLError(withoutSuggestions(message), { nodes: nodes ?? null, extensions }));
    return rule(quiet);
  };
}

/** A token that is sent must be valid: an invalid one is refused rather than treated as a visitor's. */
const AuthenticationPlugin: GraphileConfig.Plugin = {
  name: "InsightsAuthenticationPlugin",
  version: "1.0.0",
  grafserv: {
    middleware: {
      setPreset(next, event) {
        if (event.resolvedPreset.insights?.introspection !== true) {
          event.validationRules = event.validationRules.map(quietly);
        }
        return next();
      },
      async processGraphQLRequestBody(next, { request, resolvedPreset, body }) {
        const { authenticate, introspection = false, operations } = resolvedPreset.insights ?? {};
        if (request !== undefined && authenticate !== undefined) {
          try {
            let sender = identified.get(request.requestContext.node?.req ?? request);
            if (sender === undefined) {
              const { authorization, client } = readHeaders((name) => request.getHeader(name));
              sender = { ...(await authenticate(authorization)), ...client };
            }
            identities.set(request, sender);
          } catch (error) {
            if (!(error instanceof AuthenticationError)) throw error;
            const { message, statusCode, code, hint } = error;
            if (statusCode === 401) request.requestContext.node?.res.setHeader("www-authenticate", "Bearer");
            throw new SafeError(message, { statusCode, code, hint });
          }
          const { role, view } = identities.get(request) ?? visitor;
          const published = view === undefined ? operations?.() : viewOperations(view);
          if (published !== undefined) applyOperation(body, published, view === undefined ? role : "visitor");
          // Not a validation rule: the result of validation is cached by the text of the document, for all senders.
          if (!introspection && identities.get(request)?.role !== "admin" && introspects(body.query)) {
            throw new SafeError("introspection is for administrators", {
              statusCode: 403,
              code: "42501",
              hint: "The package contains schema.graphql; INSIGHTS_GRAPHIQL=true allows introspection to every role.",
            });
          }
        }
        return next();
      },
      /** A busy server answers with a status and Retry-After, too; grafserv itself only sends 200 and 400. */
      async processRequest(next, { requestDigest }) {
        const result = await next();
        const pgSettings = settings.get(requestDigest);
        if (result?.type !== "buffer" || pgSettings === undefined || !wasBusy(pgSettings)) return result;
        return { ...result, statusCode: 503, headers: { ...result.headers, "retry-after": "5" } };
      },
    },
  },
};

/**
 * The API, for `extends` in a PostGraphile preset of your own, which supplies `pgServices`: see `insightsService`. With
 * `insights.authenticate` it reads tokens, write keys and opt-out signals; without it, set `pgSettings` in
 * `grafast.context` by `requestSettings`. The database verifies write keys. Limits of rates, the cookie of browsers,
 * CORS and counts of refused requests are those of the server of `insights api`.
 */
export const preset: GraphileConfig.Preset = {
  extends: [PostGraphileAmberPreset, PgSimplifyInflectionPreset],
  plugins: [
    RoomsPlugin,
    ForeignKeysPlugin,
    BatchPlugin,
    LoggedReadsPlugin,
    InfinityPlugin,
    AuthenticationPlugin,
    PersonPlugin,
    LimitsPlugin,
  ],
  gather: { pgStrictFunctions: true },
  schema: { sortExport: true },
  grafast: {
    timeouts: { planning: 5000, execution: 60_000 },
    context(requestContext, args) {
      const request = requestContext.http;
      const given = (args.contextValue as { pgSettings?: Record<string, string> } | undefined)?.pgSettings;
      const sender: Sender = (request && identities.get(request)) ?? visitor;
      const pgSettings = { ...requestSettings(sender), ...given };
      if (sender.address !== undefined) callers.set(pgSettings, sender.address);
      if (request) settings.set(request, pgSettings);
      const response = request?.requestContext.node?.res;
      if (response !== undefined) {
        const hangUp = new AbortController();
        response.once("close", () => hangUp.abort());
        hangUps.set(pgSettings, hangUp.signal);
      }
      return { pgSettings };
    },
  },
  grafserv: {
    graphqlPath: "/graphql",
    graphiqlPath: "/graphiql",
    graphiqlOnGraphQLGET: false,
    websockets: false,
    maxRequestLength: limits.bytes,
    parseAndValidateCacheSize: limits.operations,
    maskError,
  },
};

/**
 * The database of the preset. The schema contains the fields of all roles, whatever login connects. A role has a share
 * of the pool's connections (see connections.ts); `maxWait` is the longest wait for a connection, in milliseconds. With
 * a pooler in front of the database, start Node with DATAPLAN_PG_PREPARED_STATEMENT_CACHE_SIZE=0 in its environment.
 */
export function insightsService(
  pool: pg.Pool,
  maxWait = 5000,
  gate: Gate = createGate(pool.options.max ?? 10, maxWait),
): GraphileConfig.PgServiceConfiguration {
  const service = makePgService({
    pool,
    schemas: rooms,
    // No LISTEN: with a pooler or the embedded database there is no session to listen in.
    pubsub: false,
    pgSettingsForIntrospection: { role: "insights_api" },
  });
  const { adaptor } = service;
  return {
    ...service,
    adaptor: {
      ...adaptor,
      createWithPgClient: async (...options: Parameters<typeof adaptor.createWithPgClient>) =>
        takeTurns(await adaptor.createWithPgClient(...options), gate),
    },
  };
}
